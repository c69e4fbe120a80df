package storage

import "sync/atomic"

// token is what one goroutine at a time may hold, and across writes to the disk. It is a lock whose waiters wait on a
// channel, as a simulated disk that sleeps asks for, and which costs two atomic operations where nobody waits, a third of
// what a channel with one value in it does. Who comes at the right moment may be served before who waits.
type token struct {
	state atomic.Int32
	// wake has room for one value, so that put never waits. One that nobody needed any more makes a waiter look once in
	// vain.
	wake chan struct{}
}

const (
	tokenFree = iota
	tokenHeld
	// tokenAwaited is held while somebody may be waiting.
	tokenAwaited
)

func newToken() token { return token{wake: make(chan struct{}, 1)} }

// try takes the token if it is free.
func (t *token) try() bool { return t.state.CompareAndSwap(tokenFree, tokenHeld) }

// take takes the token when it is free.
func (t *token) take() {
	if t.try() {
		return
	}
	// Who has waited holds it as awaited: it cannot know whether it was the last one.
	for t.state.Swap(tokenAwaited) != tokenFree {
		<-t.wake
	}
}

// put gives the token back.
func (t *token) put() {
	if t.state.Swap(tokenFree) == tokenAwaited {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}
