package rpc

import (
	"errors"
	"slices"
	"sync"

	"kvstore/cluster/ring"
)

// notices are the peers about which there may be something to tell, each once.
type notices struct {
	wake chan struct{} // of capacity 1, sent by post, never closed

	mu  sync.Mutex
	ids []ring.NodeID
}

func (n *notices) post(id ring.NodeID) {
	n.mu.Lock()
	if !slices.Contains(n.ids, id) {
		n.ids = append(n.ids, id)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notices) take() []ring.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := n.ids
	n.ids = nil
	return ids
}

// pair is what makes a peer up: our connection to it and its connection to us. Another pair is another life of the peer.
type pair struct {
	out *link
	in  *inbound
}

func (p pair) up() bool { return p.out != nil && p.in != nil }

// tell is the goroutine that calls PeerUp and PeerDown. It looks at what is, not at what happened: however fast connections
// come and go, the handler hears an alternation that ends with the truth.
func (t *Transport) tell() {
	told := make(map[ring.NodeID]pair) // those told up
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.news.wake:
		}
		for _, id := range t.news.take() {
			if t.ctx.Err() != nil {
				return
			}
			p, now, whole, reason := t.standing(id)
			was := told[id]
			if was.up() && was != now {
				delete(told, id)
				if p != nil {
					p.sending[Foreground].Store(nil)
				}
				t.o.Handler.PeerDown(id, reason)
			}
			if now.up() && was != now && whole {
				told[id] = now
				t.enable(p, now)
				t.o.Handler.PeerUp(id)
			}
		}
	}
}

// standing returns what connects this node with the peer now, whether the bulk connections stand too, and why there was a
// loss. A peer comes up whole, so that who is told of it can use every class; losing a bulk connection alone takes nothing down.
func (t *Transport) standing(id ring.NodeID) (p *peer, now pair, whole bool, reason error) {
	t.mu.Lock()
	in, bulk := t.accepted[acceptedKey{id, Foreground}], t.accepted[acceptedKey{id, Bulk}]
	t.mu.Unlock()
	p = (*t.peers.Load())[id]
	if p == nil {
		return nil, pair{}, false, errors.New("no longer a peer")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reason = p.reason
	if reason == nil || in == nil {
		reason = errors.New("its connection to this node was lost")
	}
	return p, pair{out: p.out[Foreground], in: in}, bulk != nil && p.out[Bulk] != nil, reason
}

// enable lets Send use the connection, unless it was lost meanwhile: then the loss has been posted, and is told next.
func (t *Transport) enable(p *peer, now pair) {
	p.sending[Foreground].Store(now.out)
	if _, again, _, _ := t.standing(p.id); again != now {
		p.sending[Foreground].CompareAndSwap(now.out, nil)
	}
}
