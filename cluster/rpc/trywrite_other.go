//go:build !unix

package rpc

// canTryWrite says whether this system's sockets can be tried without blocking. Where not, the writer goroutine does it all.
const canTryWrite = false

func (l *link) tryWrite(uintptr) bool { return true }
