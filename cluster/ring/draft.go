package ring

import "slices"

// draft is the next ring while it is made from the present one.
type draft struct {
	*Ring
	lists [][]NodeID
	heirs []Replace // who is to get whose places
	// checks are of what all changes together lead to.
	checks []func() error
}

// draft returns a copy of r that follows it and may be changed.
func (r *Ring) draft() *draft {
	d := &draft{
		Ring: &Ring{
			ClusterID: r.ClusterID, ClusterName: r.ClusterName, Generation: r.Generation, Epoch: r.Epoch + 1, Planned: r.Planned,
			Q: r.Q, N: r.N, PerDC: slices.Clone(r.PerDC), Paused: r.Paused,
			Members: slices.Clone(r.Members), Prev: r.Voters(), Gone: slices.Clone(r.Gone), Transfers: slices.Clone(r.Transfers),
		},
	}
	ids := slices.Clone(r.ids)
	for p := range r.Q {
		from, to := r.starts[p], r.starts[p+1]
		d.lists = append(d.lists, ids[from:to:to])
	}
	return d
}

// seal makes a ring of the draft.
func (d *draft) seal() (*Ring, error) {
	if len(d.Transfers) == 0 {
		d.settlePrimaries()
	}
	d.layLists(d.lists)
	if err := d.assemble(); err != nil {
		return nil, err
	}
	return d.Ring, nil
}

// layLists writes lists of members into the table.
func (r *Ring) layLists(lists [][]NodeID) {
	number := make(map[NodeID]uint16, len(r.Members))
	for i := range r.Members {
		number[r.Members[i].ID] = uint16(i)
	}
	r.starts, r.table = make([]uint32, 1, r.Q+1), nil
	for _, list := range lists {
		for _, id := range list {
			r.table = append(r.table, number[id])
		}
		r.starts = append(r.starts, uint32(len(r.table)))
	}
}

// settled returns the lists as they are when all transfers are done.
func (d *draft) settled() [][]NodeID {
	lists := make([][]NodeID, d.Q)
	for p := range lists {
		lists[p] = slices.Clone(d.lists[p])
	}
	for _, t := range d.Transfers {
		lists[t.Partition] = settle(d.Ring, t, lists[t.Partition])
	}
	return lists
}

// swap puts a node into another's place in a partition's list.
func (d *draft) swap(p Partition, from, to NodeID) {
	d.lists[p][slices.Index(d.lists[p], from)] = to
}

// drop takes a node out of a partition's list.
func (d *draft) drop(p Partition, id NodeID) {
	d.lists[p] = slices.DeleteFunc(d.lists[p], func(other NodeID) bool { return other == id })
}

// retire takes a member out of the ring and remembers it.
func (d *draft) retire(id NodeID) {
	at, _ := d.Index(id)
	m := &d.Members[at]
	d.Gone = append(d.Gone, Gone{ID: id, Name: m.Name, Removed: m.State == Removed})
	if over := len(d.Gone) - MaxGone; over > 0 {
		d.Gone = d.Gone[over:]
	}
	d.Members = slices.Delete(d.Members, at, at+1)
}

// equal reports whether the draft says the same as the ring it was made from.
func (d *draft) equal(r *Ring) bool {
	for p := range d.lists {
		if !slices.Equal(d.lists[p], r.Replicas(Partition(p))) {
			return false
		}
	}
	return d.N == r.N && d.Paused == r.Paused && slices.Equal(d.PerDC, r.PerDC) && slices.Equal(d.Members, r.Members) &&
		slices.Equal(d.Gone, r.Gone) && slices.Equal(d.Transfers, r.Transfers)
}
