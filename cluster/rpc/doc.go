// Package rpc carries messages between nodes over TCP.
//
// # Connections
//
// A node sends to a peer only over connections it dialed itself, one for each Class, and receives from it over those that the
// peer dialed. So there is never a question which of two connections wins, and the messages of one class from one node to
// another arrive in the order of their Send, once, whole or not at all. On a dialed connection only Pongs come back.
//
// A peer is up (PeerUp, Connected, Send accepted) while our foreground connection to it and its foreground connection to us
// both stand: requests can go and answers can come. It comes up only when the bulk connections stand too; losing one of those
// later is no PeerDown, it makes Send in that class ErrUnreachable until it is back. PeerDown comes once for each PeerUp, and
// messages in flight then may or may not have arrived. Between PeerDown and the next PeerUp nothing is sent in the
// foreground, so what follows PeerUp is new. PeerUp and PeerDown come from one goroutine, which is no batch: a handler that
// sends in them flushes.
//
// # The life of a message
//
// Send encodes the message into the peer's pending packets under a short lock; the message may be reused at once. Flush,
// called at the end of a turn of work, takes what is pending for every peer, calls Options.BeforeFlush once (the commit of the
// log), then writes each peer's packets with one system call that does not block. Whatever the socket does not take is
// finished by a goroutine of the connection; until then flushes only mark that there is more. A goroutine that finds another
// flushing the same peer leaves its messages to that one, so concurrent flushes neither wait nor reorder.
//
//	Send ─┐                  ┌─ write ── the socket ── Reader ─ Decode ─ Handler.Receive, Receive, ... EndBatch
//	Send ─┼─ pending ─ Flush ┤ BeforeFlush
//	Send ─┘                  └─ what does not fit: the connection's goroutine
//
// A message with the flag wire.Later does not make a flush worth while: it leaves with the next one that does, with maxLater of its like, or
// with the next Ping.
//
// Nothing leaves before a BeforeFlush that began after its Send. So when the caller applies a write before it sends about it,
// no peer hears of a write that the log does not hold. When BeforeFlush fails the messages taken are dropped and their
// connections are closed: they might tell of a write that is not there.
//
// On the other side one goroutine per connection reads what has arrived, up to a megabyte at once, hands each message to
// Handler.Receive and then calls Handler.EndBatch, the end of that turn. With Options.Loops it is an event loop instead that
// reads it, together with the connections of clients and other peers, and one turn ends for all of them: one commit, one
// flush, and replies to clients without waking anyone. The goroutine that shook hands then waits for the connection's end.
// A handler that is an Expecter is told the tokens of the next few messages before it gets the first of them.
//
// # Bounds
//
// What waits for a peer is bounded in bytes and messages for each class; over the bound Send is ErrOverloaded. A message that
// is larger than the bound by itself is taken when the bound is not reached yet. Reading is bounded by package wire's packet
// limits; what strangers may do before they have proved themselves by strangerLimit bytes a packet, Options.HandshakeTimeout
// and maxStrangers connections.
//
// # Keepalive
//
// A Ping goes out on every dialed connection each Options.PingEvery, on bulk connections at every fourth. A connection without a Pong for Options.Silence is closed,
// unless its socket is full and still draining: then a large transfer is under way in front of the Ping. An accepted
// connection on which nothing arrives for as long is closed too.
//
// # Handshake
//
// Each step is a packet of one message. All numbers are little endian.
//
//	dialer   Hello     method = role (1 peer, 2 caller), epoch, body = newest version u16 ‖ oldest version u16 ‖ cluster u64 ‖ node u64 ‖ expected u64 ‖ life (16) ‖ class u8 ‖ nonce (32)
//	acceptor HelloAck  status, epoch, body = version u16 ‖ cluster u64 ‖ node u64 ‖ life (16) ‖ nonce (32) ‖ proof (32)
//	dialer   Hello     method = role, body = proof (32)
//	acceptor HelloAck  status
//
// The dialer states which versions of the protocol it speaks, the acceptor answers with the newest that both do, and refuses
// when there is none. Later releases may make the first two bodies longer, that of the HelloAck before its proof; who does
// not know what is added passes over it.
//
// A life is incarnation u64 ‖ since u64. Both sides ask Options.Admit about the other's once it has proved itself: a ring has one
// place for a node, and whose it is, and who has none, the transport does not know.
//
// A proof is HMAC-SHA256(secret, side ‖ role ‖ the Hello's body ‖ the HelloAck's body before its proof), where side is
// "kvstore accept" or "kvstore dial"; without a secret the key is empty, and both sides must agree on that too. A status of
// Refused ends the connection, its body is the reason. What Admit says counts from an acceptor that has proved itself. The acceptor refuses versions it does not speak, another cluster, being another
// node than expected, itself, and a wrong proof. The secret authenticates who connects; it is TLS (Options.TLS, cluster.tls_cert) that
// protects the bytes after that.
//
// # Callers
//
// A caller is a tool, or a node that is not in a ring yet: Transport.Call makes a short-lived connection for one Control
// request. The handler receives it from a NodeID made up for the connection (IsCaller), to which it may Send until the caller
// has its answer. A caller may have no cluster yet (0).
//
// Every method of Transport may be called concurrently, and from within Receive and EndBatch, except Close and Call, which wait.
package rpc
