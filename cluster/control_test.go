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
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ask := func() error {
		_, err := n.call(ctx, m.id.Node, methodRing, nil)
		return err
	}
	soon(t, "what they ask and tell when they meet to be over", func() bool {
		n.calls.mu.Lock()
		defer n.calls.mu.Unlock()
		// That gossip tells of another address connects them anew.
		known := n.addresses.of(*n.Ring().Member(m.id.Node))
		return len(n.calls.waiting) == 0 && known.Gossip == m.gossip.Self().Gossip
	})
	m.calls.close() // it takes calls and answers none
	n.calls.mu.Lock()
	before := n.calls.lastID
	n.calls.mu.Unlock()
	go func() { ended <- ask() }()
	soon(t, "the call to be under way", func() bool {
		n.calls.mu.Lock()
		defer n.calls.mu.Unlock()
		for id, w := range n.calls.waiting {
			if id > before && w.to == m.id.Node {
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
