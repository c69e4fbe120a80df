package cluster

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Whoever waits for a service of a node that is lost midway, or asks one that is, hears so at once.
func TestACallEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	m.calls.close() // it takes calls and answers none
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ask := func() error {
		_, err := n.call(ctx, m.id.Node, methodRing, nil)
		return err
	}
	go func() { ended <- ask() }()
	soon(t, "the call to be under way", func() bool {
		n.calls.mu.Lock()
		defer n.calls.mu.Unlock()
		for _, w := range n.calls.waiting {
			if w.to == m.id.Node {
				return true
			}
		}
		return false
	})
	n.rpc.SetPeers(nil)
	if err := <-ended; !errors.Is(err, errLost) {
		t.Fatalf("the call ended with %v", err)
	}
	if err := ask(); err == nil || ctx.Err() != nil {
		t.Fatalf("the next call ended with %v", err)
	}
}
