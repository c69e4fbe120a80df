//go:build unix

package rpc

import "syscall"

// canTryWrite says whether this system's sockets can be tried without blocking.
const canTryWrite = true

// tryWrite writes as much of rest as the socket takes now. It always returns true, which keeps RawConn.Write from waiting.
func (l *link) tryWrite(fd uintptr) bool {
	l.tryErr = nil
	for len(l.rest) > 0 {
		n, err := syscall.Write(int(fd), l.rest)
		switch {
		case n > 0:
			l.rest = l.rest[n:]
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			l.tryErr = err
			return true
		}
	}
	return true
}
