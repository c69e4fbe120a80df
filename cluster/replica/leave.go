package replica

import (
	"context"

	"kvstore/cluster/ring"
)

// drainTask stands behind the tasks parked on a token when it was made.
type drainTask struct {
	key  Key
	done chan<- error
}

// Key implements Task.
func (t *drainTask) Key() Key { return t.key }

// Keep implements Task: its key is its own.
func (t *drainTask) Keep() {}

// Apply implements Task.
func (t *drainTask) Apply(*Scratch) ([]byte, error) { return nil, nil }

// Done implements Task.
func (t *drainTask) Done(err error) { t.done <- err }

// Drain returns when all tasks on keys with tokens from lo up to, and without, hi that
// Do was given before have ended: those that wait for the disk, and those between
// reading and storing. What comes meanwhile it does not wait for.
func (r *Replica) Drain(ctx context.Context, lo, hi ring.Token) error {
	var behind []Key
	for i := range r.stripes {
		st := &r.stripes[i]
		st.mu.Lock() // whoever stores has the lock
		for t, q := range st.parked {
			if t >= lo && t < hi {
				k := q.tasks[q.next].Key()
				behind = append(behind, Key{t, k.DB, append([]byte(nil), k.Name...)})
			}
		}
		st.mu.Unlock()
	}
	done := make(chan error, len(behind))
	for _, k := range behind {
		r.Do(&drainTask{k, done})
	}
	var failure error
	for range behind {
		select {
		case err := <-done:
			if err != nil {
				failure = err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failure
}

// Abandon runs drop, which is to remove all records of the slots from first to last,
// while no task is between reading and storing, and forgets what it knows of them
// unless drop fails. What drop does must be short, and must not use the replica. What
// the node started with must be counted (Count).
func (r *Replica) Abandon(first, last ring.Slot, drop func() error) error {
	r.lockAll()
	defer r.unlockAll()
	if err := drop(); err != nil {
		return err
	}
	for s := int(first); s <= int(last); s++ {
		r.deaths.soonest[s].Store(0)
		for db := range r.counts.slots {
			if t := r.counts.slots[db].Load(); t != nil {
				t[s].Store(0)
			}
		}
	}
	return nil
}
