// Package server answers Redis clients: it joins the sockets of package resp,
// the commands of package server/command and the cluster.
//
// # The life of a command
//
// A socket hands what it read to the connection's session, on the loop the
// connection belongs to. The session takes one command after another off its
// input and dispatches it by the kind of its running half:
//
//   - Local runs at once and appends its reply to the session's output.
//   - Op becomes a coordinator.Request. When the request is complete before
//     Submit returns, which it is when this node alone can answer from memory,
//     its reply is appended like a Local's. Otherwise the command is parked: it
//     holds a slot in the session's pipeline, and the session goes on with the
//     next command. The completion, on whatever goroutine, posts the call back
//     to the loop.
//   - Scatter is several requests that share one slot.
//   - Wait goes to a worker, with a slot. Nothing else of the connection is
//     dispatched until it is done.
//
// At the end of the loop's turn the cluster commits its log and sends its
// messages, and then every session writes its output with one call.
//
// # Order
//
// Replies leave in the order of the commands, because while any slot is taken
// every later reply takes one too. Effects on one key are in the order of the
// commands: requests for the same key keep their order on the way when both
// write, nothing matters when both read, and when one of them reads and the
// other writes, the session stops dispatching until the earlier is complete.
//
// # Limits
//
// Input over the guard's limits is a protocol error. A session stops
// dispatching while MaxParked commands are parked (busyParked while the cluster is
// busy) or more than OutputPause
// bytes are unread by the client, and stops reading when input piles up
// behind that. A client that reads nothing for resp.StuckTime, or leaves more
// than OutputLimit bytes unread, loses its connection. Over MaxClients nobody
// is let in. When too many commands wait for a worker, or connections together
// buffer more than MaxBuffered bytes, the next is refused with OVERLOADED; a
// connection that is in the middle of a large command is closed with it then.
//
// # Concurrency
//
// A session belongs to its loop. What other goroutines may see of it is a copy
// made at the end of a turn. Server's methods are for anyone.
package server
