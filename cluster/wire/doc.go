// Package wire is the language nodes speak: one union type, Message, its codec, and the sealed packets in which messages
// travel.
//
// # Messages
//
// A message is one request, reply or effect. Every kind begins with the same head and goes on with only the fields its
// constant names, in the order of the constant's comment:
//
//	head    kind (1) ‖ flags (1) ‖ id (uvarint) ‖ now (8)
//
//	id, epoch, origin        uvarint
//	now, token, digest       8 bytes, little endian: uniformly distributed or large, a varint would be longer
//	timeout                  uvarint, microseconds rounded up; 0: no deadline
//	r, w                     zigzag varint
//	db, mode, proto, method  1 byte each
//	status                   1 byte
//	key, object, op, body    uvarint length ‖ bytes
//	args                     uvarint count ‖ (uvarint length ‖ bytes) each
//
// So a Replicate of a 3-byte key, seen whole:
//
//	05                       Replicate
//	00                       no flags
//	ac 02                    id 300
//	00 00 2a 9c 41 8f 01 00  now
//	07                       epoch 7
//	c0 84 3d                 timeout 1 s
//	9c 10 33 d2 5b 07 aa 1f  token
//	00                       database 0
//	03 66 6f 6f              key "foo"
//	05 .. .. .. .. ..        object, 5 bytes
//	00                       origin: not the effect of a forwarded write
//	00                       body: none
//
// Decode fills a Message whose slices alias its input: they are valid as long as the input is. Neither Append nor Decode
// allocates, given a destination with room and a Message used before. A field that a kind does not carry is zero after
// Decode, and ignored by Append.
//
// # Packets
//
//	packet  length of messages (4, little endian) ‖ CRC-32C of messages (4, little endian) ‖ messages back to back
//
// All that a node has for a peer at the end of a turn is sealed into one packet (Builder), so that checksums and system
// calls are paid once a turn. A packet is closed early when it has grown past PacketTarget, so that the receiver can begin. A
// packet longer than the reader's limit must hold exactly one message, and never exceeds MaxPacket: a large value is a
// packet of its own. Reader finds packets in a stream, verifies them, and grows its buffer only by what has arrived, whatever a
// length claims. Damage of any kind is an error after which the connection is of no use: framing cannot be found again.
//
// Values of type Message, Builder and Reader belong to one goroutine at a time. Kinds, statuses and layouts change only with
// the version of the protocol, which the handshake of package rpc compares.
package wire
