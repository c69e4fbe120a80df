package hint

import (
	"context"
	"errors"
	"sync"
	"time"

	"kvstore/cluster/ring"
)

// Host is the node that hints are kept at, as a Replayer uses it.
type Host interface {
	// Read returns the newest object of a key, encoded; empty when nothing is
	// stored. ErrLost says that what is stored is damaged, and nobody mends it here.
	Read(h *Hint) (object []byte, err error)
	// Holder returns who is to get the object of a hint: its target while that
	// is a replica of the key. gone says that it is none any more, or has been
	// away for too long; then another replica gets it, or, with to 0, nobody has
	// to, because this node is one. ok is false while there is nobody to send to.
	Holder(h *Hint) (to ring.NodeID, gone, ok bool)
	// Send brings a batch to a node, which answers with an Answer.
	Send(ctx context.Context, to ring.NodeID, batch []byte) (answer []byte, err error)
	// End ends hints whose objects are held, unless they changed and the target
	// missed something meanwhile, and with the last hint of a key the copy of who
	// is no replica of it.
	End(done []Done) (ended int, err error)
}

// Done is a hint whose object has arrived.
type Done struct {
	Hint
	Object []byte // as it was sent
	Adds   uint64 // of the target (see Store.Adds), before it was read
	Gone   bool   // it was not the target that got it
	Lost   bool   // nobody did: the object is damaged
}

// ErrLost is the error of a copy that is damaged for good. Its hint ends and counts as dropped: the replicas of its
// partition are compared, and nothing waits for what will never be read.
var ErrLost = errors.New("the copy is damaged")

const (
	// maxItems and maxBatch bound a batch: enough to be worth a round trip and a
	// commit, little enough to be merged in some milliseconds.
	maxItems = 128
	maxBatch = 128 << 10
)

// Replayer brings one target what it missed. It serves one pass at a time.
type Replayer struct {
	store  *Store
	host   Host
	target ring.NodeID

	mu    sync.Mutex
	pacer *Pacer    // guarded by mu
	fails int       // guarded by mu: batches in a row that were not taken
	left  time.Time // guarded by mu: when the oldest hint that stays was made
	ended int       // guarded by mu
	err   error     // guarded by mu: the last failure
}

// NewReplayer returns a Replayer of a target's hints.
func NewReplayer(s *Store, h Host, target ring.NodeID) *Replayer {
	return &Replayer{store: s, host: h, target: target, pacer: NewPacer()}
}

// giveUpAfter is how many batches in a row may fail before a pass ends.
const giveUpAfter = 5

// Pass walks the target's hints once, in the order of tokens, and returns how many
// ended. It ends early when ctx ends or nothing is taken.
func (r *Replayer) Pass(ctx context.Context) (ended int, err error) {
	r.mu.Lock()
	r.ended, r.fails, r.err, r.left = 0, 0, nil, time.Time{}
	r.mu.Unlock()
	var flying sync.WaitGroup
	defer flying.Wait()
	slots := make(chan struct{}, maxWindow)
	whole := true
	for after := []byte(nil); ; {
		page, last, err := r.store.Page(r.target, after, maxItems)
		if err != nil {
			return r.result(err)
		}
		if len(page) == 0 {
			break
		}
		after = last
		for len(page) > 0 {
			var b batch
			page = r.fill(&b, page)
			if len(b.done) == 0 {
				continue
			}
			if !r.pause(ctx, slots) {
				whole = false
				break
			}
			flying.Go(func() {
				defer func() { <-slots }()
				r.deliver(ctx, &b)
			})
		}
		if !whole {
			break
		}
	}
	flying.Wait()
	if whole {
		r.mu.Lock()
		left := r.left
		r.mu.Unlock()
		r.store.Passed(r.target, left)
	}
	return r.result(nil)
}

func (r *Replayer) result(err error) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.err
	}
	return r.ended, err
}

// batch is objects on their way to one node.
type batch struct {
	to   ring.NodeID
	body []byte
	done []Done
}

// fill takes hints off the front of a page into a batch for one node, and returns
// the rest.
func (r *Replayer) fill(b *batch, page []Hint) []Hint {
	for len(page) > 0 && len(b.body) < maxBatch {
		h := page[0]
		to, gone, ok := r.host.Holder(&h)
		if ok && len(b.done) > 0 && to != b.to {
			return page
		}
		page = page[1:]
		if !ok {
			r.stays(h.Made, nil)
			continue
		}
		adds := r.store.Adds(r.target)
		object, err := r.host.Read(&h)
		if errors.Is(err, ErrLost) {
			b.done = append(b.done, Done{Hint: h, Adds: adds, Gone: true, Lost: true})
			b.to = to
			continue
		}
		if err != nil {
			r.stays(h.Made, err)
			continue
		}
		if len(b.done) > 0 && len(b.body)+len(object) > maxBatch {
			return append([]Hint{h}, page...) // alone, if it is large
		}
		b.to = to
		b.done = append(b.done, Done{Hint: h, Object: object, Adds: adds, Gone: gone})
		if to != 0 && len(object) > 0 { // else there is nothing to send
			b.body = AppendItem(b.body, &Item{h.Key, object})
		}
	}
	return page
}

// stays notes a hint that this pass leaves.
func (r *Replayer) stays(made time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left.IsZero() || made.Before(r.left) {
		r.left = made
	}
	if err != nil {
		r.err = err
	}
}

// pause waits until another batch may fly; false when the pass is over.
func (r *Replayer) pause(ctx context.Context, slots chan struct{}) bool {
	r.mu.Lock()
	wait := r.pacer.Pause()
	r.mu.Unlock()
	for {
		if wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		r.mu.Lock()
		window, fails := r.pacer.Window(), r.fails
		r.mu.Unlock()
		switch {
		case fails >= giveUpAfter || ctx.Err() != nil:
			return false
		case len(slots) < window:
			slots <- struct{}{}
			return true
		}
		wait = time.Millisecond
	}
}

// deliver sends a batch and ends the hints whose objects were taken.
func (r *Replayer) deliver(ctx context.Context, b *batch) {
	held := b.done
	if len(b.body) > 0 {
		answer, err := r.host.Send(ctx, b.to, b.body)
		if err == nil {
			held, err = r.taken(b, answer)
		}
		if err != nil {
			r.mu.Lock()
			r.pacer.Failed()
			r.fails++
			r.mu.Unlock()
			for i := range b.done {
				r.stays(b.done[i].Made, err)
			}
			return
		}
	}
	ended, err := r.host.End(held)
	if err != nil {
		r.stays(b.done[0].Made, err)
	}
	r.mu.Lock()
	r.ended += ended
	r.mu.Unlock()
}

// taken returns the hints of a batch whose objects its receiver holds.
func (r *Replayer) taken(b *batch, answer []byte) (held []Done, err error) {
	sent := 0
	for i := range b.done {
		if len(b.done[i].Object) > 0 {
			sent++
		}
	}
	a, err := DecodeAnswer(answer, sent)
	if err != nil {
		return nil, err
	}
	next, refused := 0, false
	for i := range b.done {
		if len(b.done[i].Object) > 0 {
			next++
			if !a.Held[next-1] {
				r.stays(b.done[i].Made, nil)
				refused = true
				continue
			}
		}
		held = append(held, b.done[i])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.pacer.Failed()
		if len(held) == 0 {
			r.fails++
		}
	} else {
		r.pacer.Succeeded(a.Grant)
		r.fails = 0
	}
	return held, nil
}
