package ring

import (
	"errors"
	"fmt"
	"slices"
)

// ErrStale is wrapped by the refusal of a change that was made up from a ring
// that is not the present one any more: look at that and decide again.
var ErrStale = errors.New("the ring has changed meanwhile")

// ErrPaused is the refusal of Begin while moves are paused.
var ErrPaused = errors.New("moves are paused")

// Steps are transfers that one node takes on, by what they come to. No partition is in two.
type Steps struct {
	Finish []Partition // see Finish
	Switch []Partition // see Switch
	Begin  []Partition // see Begin
}

// Advance returns the ring in which transfers that a node drives have gone on. All of them do or
// none: one change of the ring costs as much as many.
func Advance(r *Ring, driver NodeID, s Steps) (*Ring, error) {
	if r.Paused && len(s.Begin) > 0 {
		return nil, ErrPaused
	}
	d := r.draft()
	err := d.advance(driver, s.Finish, (*draft).finishOne)
	if err == nil {
		err = d.advance(driver, s.Switch, (*draft).switchOne)
	}
	if err == nil {
		err = d.advance(driver, s.Begin, (*draft).beginOne)
	}
	if err != nil {
		return nil, err
	}
	return d.advanced()
}

// Begin returns the ring in which transfers that a node drives have gone from
// Waiting to Copying. All of them do or none.
func Begin(r *Ring, driver NodeID, ps []Partition) (*Ring, error) {
	return Advance(r, driver, Steps{Begin: ps})
}

// Switch returns the ring in which reads go to the new node: transfers from a
// living node have gone from Copying to Switched. Where that one has been declared
// dead meanwhile, the others have yet to be asked, and Switch is too early.
func Switch(r *Ring, driver NodeID, ps []Partition) (*Ring, error) {
	return Advance(r, driver, Steps{Switch: ps})
}

// Finish returns the ring without transfers that are Switched, or, if they are of
// a kind that is never Switched, Copying.
func Finish(r *Ring, driver NodeID, ps []Partition) (*Ring, error) {
	return Advance(r, driver, Steps{Finish: ps})
}

func (d *draft) beginOne(t *Transfer) error {
	if t.Step != Waiting {
		return errStep(*t)
	}
	t.Step = Copying
	if d.fills(*t) {
		d.swap(t.Partition, t.From, t.To)
	}
	return nil
}

func (d *draft) switchOne(t *Transfer) error {
	if t.Step != Copying || !d.paired(*t) {
		return errStep(*t)
	}
	t.Step = Switched
	d.swap(t.Partition, t.From, t.To)
	return nil
}

func (d *draft) finishOne(t *Transfer) error {
	if t.Step == Waiting || t.Step == Copying && d.paired(*t) {
		return errStep(*t)
	}
	d.finish(t)
	return nil
}

// Renew returns the ring that says the same, as the next one. Once it is chosen, whatever
// else was proposed in its place can be chosen no more.
func Renew(r *Ring) (*Ring, error) { return r.draft().seal() }

// Retreat returns the ring in which transfers have gone back from Copying to
// Waiting. Those that fill the place of a removed member stay: there is nothing to
// go back to.
func Retreat(r *Ring, ps []Partition) (*Ring, error) {
	d := r.draft()
	err := d.advance(0, ps, func(d *draft, t *Transfer) error {
		if t.Step != Copying {
			return errStep(*t)
		}
		if !d.fills(*t) {
			t.Step = Waiting
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	next, err := d.advanced()
	if err == nil && slices.Equal(next.Transfers, r.Transfers) {
		return r, nil
	}
	return next, err
}

// done marks a transfer that advance takes out.
const done = Switched + 1

func errStep(t Transfer) error {
	return fmt.Errorf("%w: the transfer of partition %d from %v to %v is %v", ErrStale, t.Partition, t.From, t.To, t.Step)
}

// finish does what a transfer has left to do to its list.
func (d *draft) finish(t *Transfer) {
	d.lists[t.Partition] = settle(d.Ring, *t, d.lists[t.Partition])
	t.Step = done
}

// advance takes the first transfer of each partition a step on. A driver of zero
// is anyone.
func (d *draft) advance(driver NodeID, ps []Partition, step func(*draft, *Transfer) error) error {
	for _, p := range ps {
		at := d.firstTransfer(p)
		if at == len(d.Transfers) || d.Transfers[at].Partition != p {
			return fmt.Errorf("%w: partition %d has no transfer", ErrStale, p)
		}
		t := &d.Transfers[at]
		if driver != 0 && t.Driver() != driver {
			return fmt.Errorf("%w: the transfer of partition %d is driven by %v", ErrStale, p, t.Driver())
		}
		if t.Step == done {
			return fmt.Errorf("partition %d is named twice", p)
		}
		if err := step(d, t); err != nil {
			return err
		}
	}
	return nil
}

// advanced is seal after advance.
func (d *draft) advanced() (*Ring, error) {
	d.Transfers = slices.DeleteFunc(d.Transfers, func(t Transfer) bool { return t.Step == done })
	return d.seal()
}
