package ring

import "slices"

// Pause returns the ring in which no transfer begins, or in which they begin
// again. What is under way goes on.
func Pause(r *Ring, paused bool) (*Ring, error) {
	if r.Paused == paused {
		return r, nil
	}
	d := r.draft()
	d.Paused = paused
	return d.seal()
}

// Abort returns the ring in which what is planned is given up: transfers that wait
// are dropped, those that copy are taken back, those that are Switched end as they
// would. Members that were to get their first replica are Joining again, and
// Leaving members that hold something Active. What refills the places of removed
// members goes on.
func Abort(r *Ring) (*Ring, error) {
	d := r.draft()
	targets := d.giveUp()
	lists := d.settled()
	holds := make(map[NodeID]bool)
	for p := range lists {
		for _, list := range [2][]NodeID{lists[p], d.lists[p]} {
			for _, id := range list {
				holds[id] = true
			}
		}
	}
	for i := range d.Members {
		switch m := &d.Members[i]; {
		case m.State == Active && !holds[m.ID] && targets[m.ID]:
			m.State = Joining
		case m.State == Leaving && holds[m.ID]:
			m.State = Active
		}
	}
	if err := d.refill(r); err != nil {
		return nil, err
	}
	if d.equal(r) {
		return r, nil
	}
	d.Planned = d.Epoch
	return d.seal()
}

// giveUp drops the transfers that Abort drops, and returns where they went.
func (d *draft) giveUp() (targets map[NodeID]bool) {
	targets = make(map[NodeID]bool)
	var list []NodeID
	kept := make([]Transfer, 0, len(d.Transfers))
	for i, t := range d.Transfers {
		if i == 0 || d.Transfers[i-1].Partition != t.Partition {
			list = slices.Clone(d.lists[t.Partition])
		}
		// What was to follow a transfer that is dropped may make no sense by itself.
		fits := t.Step != Waiting || slices.Contains(list, t.From) && !slices.Contains(list, t.To)
		if t.Step != Switched && !(d.fills(t) && fits) {
			targets[t.To] = true
			continue
		}
		list = settle(d.Ring, t, list)
		kept = append(kept, t)
	}
	d.Transfers = kept
	return targets
}

// refill plans what refills removed members' places anew if some have no transfer.
func (d *draft) refill(r *Ring) error {
	if !slices.ContainsFunc(d.settled(), func(list []NodeID) bool { return slices.ContainsFunc(list, d.removed) }) {
		return nil
	}
	if _, err := d.plan(r, nil); err != nil {
		return err
	}
	d.Transfers = slices.DeleteFunc(d.Transfers, func(t Transfer) bool { return t.Step == Waiting && !d.fills(t) })
	return nil
}

// Recover returns the first ring of a new generation, for the day on which the
// majority of the voters is gone for good: everybody but the survivors is removed,
// and what they held is refilled from the survivors. Partitions that no survivor
// holds begin empty; the plan's notes name them.
func Recover(r *Ring, survivors []NodeID) (*Ring, *Plan, error) {
	var changes []Change
	for _, id := range r.Voters() {
		if !slices.Contains(survivors, id) {
			changes = append(changes, Remove{ID: id, Lose: true})
		}
	}
	d := r.draft()
	plan, err := d.replan(r, changes)
	if err != nil {
		return nil, nil, err
	}
	d.Generation++
	d.Prev = nil
	next, err := d.seal()
	return next, plan, err
}
