// Package resp is the Redis protocol as this server speaks it, and the sockets
// it is spoken on. It knows nothing of commands.
//
// # One request
//
// A socket implementation (event loops on Linux, Listen with Options.Portable
// or TLS elsewhere) reads what a client sent and hands the bytes to the
// connection's Session. The session keeps what is not yet a whole command and
// asks its Guard for the next frame: the guard finds frame ends without ever
// looking at a byte twice, and refuses what is malformed or over a limit in
// Redis's words. Replies are appended to a plain byte slice with redcon's
// Append functions and, where RESP2 and RESP3 differ, with those of this
// package. They are sent at the end of the turn.
//
// # Turns
//
// A turn is one batch of work of one event loop: all sockets that were ready
// together, and all Work posted meanwhile. Loops may also read connections that
// are no clients': Loops.Watch, by which other nodes' messages are served in the
// same turns. Sessions mark themselves with
// Conn.Touch; at the end of the turn the loop calls Events.EndTurn once, which
// hands the log to the kernel and sends what was gathered for other nodes, and
// only then Session.Flush of every touched session. So one write to the log
// serves every client of the turn, and nothing leaves before it. When EndTurn
// reports that the log is not there yet (fsync on every write), the touched
// sessions are sealed and flushed when it is; meanwhile the loop goes on, and
// the turns in between share the next wait. A session may keep replies for a
// later turn with Conn.Hold, when more that the client waits for is under way.
//
// # Concurrency
//
// All methods of one Session are called by its loop, never two at a time.
// Conn's methods belong to that loop too, except Post and the addresses, which
// anyone may call. The appenders, parsers and Match are pure functions.
package resp
