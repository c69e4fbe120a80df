package sim

import (
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/ring"
)

// version names a ring.
type ringVersion struct {
	generation uint64
	epoch      ring.Epoch
}

// hunt waits for a transfer at a step, and strikes one of its two machines.
type hunt struct {
	step  ring.Step
	to    bool // who enters, not who leaves
	until time.Time
	act   func(m *machine)
}

// observe looks at the rings that nodes have adopted since the last event.
func (w *World) observe() {
	for _, m := range w.machines {
		node := m.up()
		if node == nil {
			continue
		}
		r := node.Ring()
		if r == m.seen {
			continue
		}
		m.seen = r
		v := ringVersion{r.Generation, r.Epoch}
		if hash, known := w.rings[v]; known && hash != r.Hash() {
			w.fail("ring", "two rings are of generation %d and epoch %d; one is that of %s", r.Generation, r.Epoch, m.name())
		} else if known {
			continue
		}
		w.rings[v] = r.Hash()
		newer := w.newest == nil || r.NewerThan(w.newest)
		if err := CheckRing(r, w.lacking(r, newer)); err != nil && w.formed {
			w.fail("ring", "epoch %d at %s: %v", r.Epoch, m.name(), err)
		}
		if newer {
			w.newest = r
			w.hunted()
		}
	}
}

// lacking is the ring before, by which a partition may lack replicas: where their number
// changes, a plan that was given up leaves it as it is. Of rings that are seen late the one
// before is not known.
func (w *World) lacking(r *ring.Ring, newer bool) *ring.Ring {
	switch {
	case w.c.Least == 0:
		return nil
	case newer:
		return w.newest
	}
	return r
}

// CheckRing: as long as there are N members to hold it, a partition has N distinct
// holders, and in each data centre its number of those; and of its transfers one at most
// is under way. What it lacked in the ring before, if one is given, it may still lack.
func CheckRing(r, before *ring.Ring) error {
	able := make(map[string]int)
	for i := range r.Members {
		if m := &r.Members[i]; m.State == ring.Active && m.Weight > 0 {
			able[m.DC]++
			able[anywhere]++
		}
	}
	want := map[string]int{anywhere: min(able[anywhere], r.N)}
	if len(r.PerDC) > 0 {
		want[anywhere] = 0
	}
	for _, dc := range r.PerDC {
		want[dc.DC] = min(able[dc.DC], dc.N)
		want[anywhere] += want[dc.DC]
	}
	for p := range ring.Partition(r.Q) {
		holds, held := holding(r, p), map[string]int(nil)
		if before != nil {
			held = holding(before, p)
		}
		for dc, n := range want {
			if holds[dc] < n && !growing(r, p, dc) && (before == nil || holds[dc] < held[dc]) {
				return fmt.Errorf("partition %d has %d holders of %d %s", p, holds[dc], n, dc)
			}
		}
	}
	for i, t := range r.Transfers {
		if i > 0 && t.Step != ring.Waiting && r.Transfers[i-1].Partition == t.Partition {
			return fmt.Errorf("two transfers of partition %d are under way", t.Partition)
		}
	}
	return nil
}

// holding counts the distinct holders of a partition, by data centre and in all.
func holding(r *ring.Ring, p ring.Partition) map[string]int {
	holders := slices.Clone(r.Replicas(p))
	slices.Sort(holders)
	holders = slices.Compact(holders)
	holds := map[string]int{anywhere: len(holders)}
	for _, id := range holders {
		holds[r.Member(id).DC]++
	}
	return holds
}

// anywhere stands for all data centres.
const anywhere = "anywhere"

// growing reports whether a partition is to get a replica more, in a data centre or anywhere: there
// were too few members when it began, or, in a data centre, what had begun by an earlier plan takes one
// to another and has to end first.
func growing(r *ring.Ring, p ring.Partition, dc string) bool {
	return slices.ContainsFunc(r.Transfers, func(t ring.Transfer) bool {
		return t.Partition == p && (t.From == 0 || t.To != 0 && dc != anywhere && r.Member(t.To).DC == dc)
	})
}

// hunted strikes who has come to the step that was waited for.
func (w *World) hunted() {
	w.hunts = slices.DeleteFunc(w.hunts, func(h *hunt) bool {
		if w.ending || time.Now().After(h.until) {
			return true
		}
		for _, t := range w.newest.Transfers {
			id := t.From
			if h.to {
				id = t.To
			}
			if m := w.machineOf(id); t.Step == h.step && m != nil {
				w.loop.after(0, func() { h.act(m) })
				return true
			}
		}
		return false
	})
}
