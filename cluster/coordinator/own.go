package coordinator

import (
	"errors"
	"slices"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// readHere answers a read that this node's copy suffices for, if memory has it.
func (c *Coordinator) readHere(v *view, part ring.Partition, r *Request, key replica.Key) bool {
	s, ready, err := c.o.Replica.TryRead(key)
	if now := c.view.Load(); !ready || now != v && now.changed(part, v) {
		c.o.Replica.Release(s)
		return false
	}
	if err != nil { // the other replicas may know better
		c.o.Replica.Release(s)
		return false
	}
	op := c.reads.Get().(*readOp)
	op.v, op.key, op.args, op.req = v, key, append(op.args[:0], r.Args...), r
	op.run(&s.Object, s.Buf[:0])
	c.o.Replica.Release(s)
	op.finish(nil)
	return true
}

// readOwn reads this node's own copy: now, if memory has it, else by a worker,
// while the read waits as it would for another node: it can be hedged, go on
// without the own copy, and time out. The caller holds mu, which readOwn gives up.
func (o *readOp) readOwn(own int) {
	r := o.c.o.Replica
	s, ready, err := r.TryRead(o.key)
	if ready {
		o.loaded(own, s, err)
		r.Release(s)
		return
	}
	r.Release(s)
	if !o.wait() {
		return
	}
	t := &ownRead{op: o, id: o.id, place: own, key: o.key, deadline: o.deadline}
	t.key.Name = slices.Clone(o.key.Name) // it may outlive the read
	o.mu.Unlock()
	r.ReadLater(t)
}

// loaded takes the own copy. The caller holds mu, which loaded gives up.
func (o *readOp) loaded(own int, s *replica.Scratch, err error) {
	bit := uint64(1) << uint(own)
	if v := o.c.view.Load(); v != o.v && v.changed(o.part, o.v) {
		o.outrun(own) // this copy may not be one to be read any more
	} else if err != nil {
		err = storeError(err)
		if errors.Is(err, ErrCorrupt) {
			o.damaged = true
			o.c.Metrics.CorruptReads.Add(1)
		}
		o.fail(own, err)
	} else {
		o.take(own, s)
	}
	switch {
	case !o.tally.met():
		o.ask()
	case o.tally.ok|o.spent == bit:
		o.release()
		o.mu.Unlock()
		o.run(&s.Object, s.Buf[:0])
		o.finish(nil)
	default:
		o.conclude()
	}
}

// ownRead is the reading of a node's own copy from the disk. Its readOp may have
// ended, and serve another request, before the disk answers.
type ownRead struct {
	op       *readOp
	id       uint64
	place    int
	key      replica.Key
	deadline time.Time
}

// Key implements replica.Reader.
func (t *ownRead) Key() replica.Key { return t.key }

// Keep implements replica.Reader.
func (t *ownRead) Keep() {}

// Late implements replica.Reader.
func (t *ownRead) Late() bool {
	t.op.mu.Lock()
	defer t.op.mu.Unlock()
	return t.op.id != t.id || t.op.repair || time.Now().After(t.deadline)
}

// Loaded implements replica.Reader.
func (t *ownRead) Loaded(s *replica.Scratch, err error) {
	o := t.op
	o.mu.Lock()
	if o.id != t.id || o.repair {
		o.mu.Unlock()
		return
	}
	o.loaded(t.place, s, err)
}
