package wire

import (
	"time"

	"kvstore/cluster/ring"
)

// Kind tells what a message is. Each constant's comment is the layout of what follows the head.
type Kind uint8

const (
	// Hello opens a connection and proves the dialer: method (role) ‖ epoch ‖ body (see package rpc).
	Hello Kind = 1
	// HelloAck answers a Hello: status ‖ epoch ‖ body (see package rpc; the reason, when refused).
	HelloAck Kind = 2
	// Write asks a partition's soft primary to run an operation:
	// epoch ‖ timeout ‖ token ‖ db ‖ key ‖ r ‖ w ‖ mode ‖ proto ‖ op ‖ args.
	Write Kind = 3
	// WriteReply answers a Write: status ‖ epoch ‖ body (the client's reply, or the text of a failure).
	WriteReply Kind = 4
	// Replicate asks a replica to merge an object into what it holds:
	// epoch ‖ timeout ‖ token ‖ db ‖ key ‖ object ‖ origin ‖ body (the client's reply when origin is not 0) ‖ target (8 bytes,
	// with the flag StandIn or Relay) ‖ relay (with the flag Relay).
	Replicate Kind = 5
	// ReplicateAck answers a Replicate: status ‖ epoch ‖ object (what the replica holds, when Stale) ‖ body (text of a failure).
	ReplicateAck Kind = 6
	// Read asks a replica for what it holds; digest is that of the object the asker holds, 0 for none:
	// epoch ‖ timeout ‖ token ‖ db ‖ key ‖ digest.
	Read Kind = 7
	// ReadReply answers a Read: status ‖ epoch ‖ digest ‖ object ‖ body (text of a failure).
	ReadReply Kind = 8
	// Control asks for one of the rarer services (ring, join, scan, ...): method ‖ epoch ‖ timeout ‖ body.
	Control Kind = 9
	// ControlReply answers a Control: method ‖ status ‖ epoch ‖ body.
	ControlReply Kind = 10
	// Ping asks whether the link and the process behind it live: epoch.
	Ping Kind = 11
	// Pong answers a Ping, with its id: epoch.
	Pong Kind = 12
)

// String returns the kind's name for messages to people.
func (k Kind) String() string {
	switch k {
	case Hello:
		return "hello"
	case HelloAck:
		return "hello ack"
	case Write:
		return "write"
	case WriteReply:
		return "write reply"
	case Replicate:
		return "replicate"
	case ReplicateAck:
		return "replicate ack"
	case Read:
		return "read"
	case ReadReply:
		return "read reply"
	case Control:
		return "control"
	case ControlReply:
		return "control reply"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "unknown"
}

// Status is the outcome a reply carries. Values travel and must not change.
type Status uint8

const (
	// OK: done as asked.
	OK Status = 0
	// Same: the replica's object has the digest of the request.
	Same Status = 1
	// Absent: the replica holds nothing for the key.
	Absent Status = 2
	// Stale: done, but the replica held something that the object did not cover; the reply's object is what it holds now.
	Stale Status = 3
	// Expired: the request's time was over before it was looked at; nothing was done.
	Expired Status = 4
	// WrongEpoch: the partition changed after the epoch of the request; nothing was done, the reply's epoch is newer.
	WrongEpoch Status = 5
	// NotReplica: the receiver holds no replica of the partition; nothing was done.
	NotReplica Status = 6
	// Full: the receiver's disk is full or its log failed, it refuses writes; nothing was done.
	Full Status = 7
	// Overloaded: a bound of the receiver was reached; nothing was done.
	Overloaded Status = 8
	// Failed: it was attempted and failed; the body is the text.
	Failed Status = 9
	// Refused: the receiver does not serve this sender; the body is the reason.
	Refused Status = 10
	// Timeout: it was attempted, and its outcome is not known within the time given.
	Timeout Status = 11
	// NoQuorum: too few replicas were reachable; nothing was done.
	NoQuorum Status = 12
)

// String returns the status's name for messages to people.
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Same:
		return "same"
	case Absent:
		return "absent"
	case Stale:
		return "stale"
	case Expired:
		return "expired"
	case WrongEpoch:
		return "wrong epoch"
	case NotReplica:
		return "not a replica"
	case Full:
		return "full"
	case Overloaded:
		return "overloaded"
	case Failed:
		return "failed"
	case Refused:
		return "refused"
	case Timeout:
		return "timeout"
	case NoQuorum:
		return "no quorum"
	}
	return "unknown"
}

// Flags qualify a message. Values travel and must not change.
type Flags uint8

const (
	// DigestOnly on a Read: the digest suffices, the object need not come.
	DigestOnly Flags = 1 << 0
	// Repair on a Replicate: it mends what a read found behind.
	Repair Flags = 1 << 1
	// NoAck on a Replicate: nobody waits for the answer, send none.
	NoAck Flags = 1 << 2
	// Covering on a Replicate: its writer meant to replace everything, or its reader to have
	// seen it, so a replica that held something the object does not cover answers Stale.
	Covering Flags = 1 << 3
	// Later on a Replicate: its sender is in no hurry for the acknowledgement. On any other
	// message: it need not leave by itself, but with whatever goes the same way next.
	Later Flags = 1 << 4
	// StandIn on a Write or Read: the receiver is asked in place of a replica that is away, and need not be one itself. On a
	// Replicate: besides, it keeps a hint for the replica named as target.
	StandIn Flags = 1 << 5
	// Refuses on a Write: the disk of its sender, a replica itself, takes no writes, so it will not acknowledge.
	Refuses Flags = 1 << 6
	// Relay on a Replicate: its receiver passes it on to the nodes named in relay, with the flag and its sender as target.
	// Who gets a target here acknowledges to that node.
	Relay Flags = 1 << 7
)

// Message is one message of any kind. Fields that the kind does not name are ignored by Append and zero after Decode.
type Message struct {
	Kind   Kind
	Flags  Flags
	Status Status
	DB     uint8
	Mode   uint8 // a consistency mode of the coordinator
	Proto  uint8 // RESP version of the client, 2 or 3
	Method uint8 // Control: which service. Hello: which role
	R, W   int16 // levels of the coordinator

	// ID names a request at its sender; replies carry it back.
	ID uint64
	// Now is the sender's hybrid logical clock when it sent; the receiver observes it.
	Now int64
	// Epoch is that of the ring the sender decided by.
	Epoch ring.Epoch
	// Timeout is the time left for the request, in whole microseconds. 0 is none; a negative one travels as the shortest.
	Timeout time.Duration
	// Token is the key's place on the ring.
	Token ring.Token
	// Digest is a hash of an encoded object.
	Digest uint64
	// Origin is, for a Replicate that is the effect of a Write forwarded by its receiver, the ID of that Write. 0: it is not.
	Origin uint64
	// Target is, for a Replicate with the flag StandIn, the replica that its receiver stands in for; with the flag Relay, the
	// node that counts the acknowledgement, if that is not the sender.
	Target ring.NodeID

	Key    []byte
	Object []byte   // an encoded version.Object
	Op     []byte   // an operation's name
	Args   [][]byte // the command, its name first; Decode reuses the backing array
	Body   []byte
	Relay  []byte // node ids, 8 bytes each, little endian
}

// Reset empties the message and keeps the backing array of Args.
func (m *Message) Reset() {
	args := m.Args[:0]
	*m = Message{Args: args}
}
