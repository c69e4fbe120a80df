package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Change is a part of what Replan does. Changes happen in the order in which they
// are given.
type Change interface {
	// apply makes the change to members and numbers, or returns why it cannot be.
	apply(d *draft) error
}

// AsOf refuses with ErrStale if the plan was made for an older ring and something
// was planned since. Steps of transfers do not make a plan stale.
type AsOf struct{ Epoch Epoch }

// Commit makes Joining members Active.
type Commit struct{}

// Decommission has a member hand over what it holds.
type Decommission struct{ ID NodeID }

// Remove declares a member dead: what it held is refilled from others.
type Remove struct {
	ID   NodeID
	Lose bool // also if nobody else has some of its partitions, which begin empty then
}

// Replace gives the places of Old, which leaves or was removed, to New as far as
// that balances. New has just joined or is to.
type Replace struct{ Old, New NodeID }

// Weight changes a member's weight.
type Weight struct {
	ID NodeID
	W  float64
}

// Relieve has a member whose disk is low hold a part of its share, above 0 and up to 1,
// which is all of it again.
type Relieve struct {
	ID   NodeID
	Part float64
}

// Replication changes the number of replicas: N of each partition, or if PerDC has
// any, so many in each data centre; N is then zero or their sum.
type Replication struct {
	N     int
	PerDC []DCReplicas
}

func (c AsOf) apply(d *draft) error {
	if d.Planned > c.Epoch {
		return fmt.Errorf("%w: the plan is of epoch %d, and at epoch %d something else was planned; look at the new plan and commit that", ErrStale, c.Epoch, d.Planned)
	}
	return nil
}

func (Commit) apply(d *draft) error {
	for i := range d.Members {
		if m := &d.Members[i]; m.State == Joining {
			m.State = Active
		}
	}
	return nil
}

func (c Decommission) apply(d *draft) error {
	m, err := d.named(c.ID)
	if err != nil {
		return fmt.Errorf("decommission: %w", err)
	}
	if m.State == Joining {
		d.retire(c.ID)
		return nil
	}
	held := m.holds()
	m.State = Leaving
	d.checkLeft(held, m.DC, "decommission "+m.title())
	return nil
}

func (c Weight) apply(d *draft) error {
	m, err := d.named(c.ID)
	if err != nil {
		return fmt.Errorf("weight: %w", err)
	}
	held := m.holds()
	m.Weight, m.Full = c.W, 0
	if err := m.validate(); err != nil {
		return err
	}
	d.checkLeft(held && !m.holds(), m.DC, fmt.Sprintf("weight %s 0", m.title()))
	return nil
}

func (c Relieve) apply(d *draft) error {
	m, err := d.named(c.ID)
	if err != nil {
		return fmt.Errorf("relieve: %w", err)
	}
	if !(c.Part > 0 && c.Part <= 1) {
		return fmt.Errorf("relieve %s: %v is no part of its share", m.title(), c.Part)
	}
	full := cmp.Or(m.Full, m.Weight)
	m.Weight, m.Full = full*c.Part, full
	if c.Part == 1 {
		m.Full = 0
	}
	return m.validate()
}

// checkLeft refuses, in the end, what leaves fewer members than replicas are asked for,
// when one of a data centre, which held some, is to hold none any more.
func (d *draft) checkLeft(less bool, dc, what string) {
	if !less {
		return
	}
	d.checks = append(d.checks, func() error {
		n, where := d.N, ""
		if len(d.PerDC) > 0 {
			n, where = d.replicasIn(dc), " in data centre "+dc
		} else {
			dc = ""
		}
		left := d.holders(dc)
		if left >= n {
			return nil
		}
		how := d.replicationWith(dc, left)
		if how != "" {
			how = ", or ask for fewer replicas: kvstore cluster replication " + how
		}
		return fmt.Errorf("%s: %s would be left%s for %d replicas; add a node%s first%s", what, plural(left, "member"), where, n, where, how)
	})
}

// holders counts the members that are to hold partitions, those of one data centre or,
// if that is empty, all.
func (d *draft) holders(dc string) (n int) {
	for i := range d.Members {
		if m := &d.Members[i]; m.holds() && (dc == "" || m.DC == dc) {
			n++
		}
	}
	return n
}

// replicationWith is what would be asked for, as ReplicationText has it, with n replicas
// in a data centre, or in all; empty if that is none at all.
func (d *draft) replicationWith(dc string, n int) string {
	perDC := slices.Clone(d.PerDC)
	if len(perDC) == 0 {
		if n == 0 {
			return ""
		}
		return ReplicationText(n, nil)
	}
	for i := range perDC {
		if perDC[i].DC == dc {
			perDC[i].N = n
		}
	}
	perDC = slices.DeleteFunc(perDC, func(c DCReplicas) bool { return c.N == 0 })
	if len(perDC) == 0 {
		return ""
	}
	return ReplicationText(0, perDC)
}

// ReplicationText writes how many replicas are asked for, as kvstore cluster replication
// takes it: "3" or "east=3,west=3".
func ReplicationText(n int, perDC []DCReplicas) string {
	if len(perDC) == 0 {
		return fmt.Sprint(n)
	}
	var parts []string
	for _, dc := range perDC {
		parts = append(parts, fmt.Sprintf("%s=%d", dc.DC, dc.N))
	}
	return strings.Join(parts, ",")
}

// replicasIn returns how many replicas of each partition a data centre is to have
// at most.
func (r *Ring) replicasIn(dc string) int {
	if len(r.PerDC) == 0 {
		return r.N
	}
	at, found := slices.BinarySearchFunc(r.PerDC, dc, func(d DCReplicas, dc string) int { return cmp.Compare(d.DC, dc) })
	if !found {
		return 0
	}
	return r.PerDC[at].N
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func (c Remove) apply(d *draft) error {
	m := d.Member(c.ID)
	switch {
	case m == nil:
		return fmt.Errorf("remove: %w", d.Refusal(c.ID, ""))
	case m.State == Removed:
		return nil
	case m.State == Joining:
		m.State = Removed
		d.retire(c.ID)
		return nil
	}
	if only := d.onlyWith(c.ID); len(only) > 0 && !c.Lose {
		return fmt.Errorf("remove %s: nobody else has %s; bring it back, decommission it so that they move, or lose them with --lose", m.title(), partitions(only))
	}
	m.State = Removed
	d.Transfers = slices.DeleteFunc(d.Transfers, func(t Transfer) bool { return t.Step != Waiting && d.bury(t, c.ID) })
	return nil
}

// partitions names the first few of some partitions.
func partitions(ps []Partition) string {
	if len(ps) == 1 {
		return fmt.Sprint("partition ", ps[0])
	}
	const named = 5
	var names []string
	for _, p := range ps[:min(len(ps), named)] {
		names = append(names, fmt.Sprint(p))
	}
	text := "partitions " + strings.Join(names, ", ")
	if more := len(ps) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// onlyWith returns the partitions of which no living node but one has everything;
// with zero those of which none has.
func (d *draft) onlyWith(id NodeID) (only []Partition) {
	at := 0
	for p, list := range d.lists {
		full := slices.DeleteFunc(slices.Clone(list), d.removed)
		for ; at < len(d.Transfers) && int(d.Transfers[at].Partition) == p; at++ {
			switch t := d.Transfers[at]; {
			case t.Step == Switched:
				full = append(full, t.From)
			case t.Step == Copying && d.fills(t):
				full = slices.DeleteFunc(full, func(id NodeID) bool { return id == t.To })
			}
		}
		if len(full) == 0 && id == 0 || len(full) == 1 && full[0] == id {
			only = append(only, Partition(p))
		}
	}
	return only
}

// bury does what the death of a node means for a transfer under way, and reports
// whether that ends it.
func (d *draft) bury(t Transfer, dead NodeID) (ends bool) {
	list := d.lists[t.Partition]
	switch {
	case t.From != dead && t.To != dead:
		return false
	case t.Step == Switched && t.To == dead: // From still has everything
		d.swap(t.Partition, t.To, t.From)
	case t.Step == Switched: // To has everything
	case t.From == dead && t.To == 0:
		d.drop(t.Partition, dead)
	case t.From == dead && !slices.Contains(list, t.To): // the others have to fill To
		d.swap(t.Partition, t.From, t.To)
		return false
	}
	return true
}

func (c Replace) apply(d *draft) error {
	if c.Old == c.New {
		return errors.New("replace: a node cannot take its own place")
	}
	old := d.Member(c.Old)
	if old == nil {
		return fmt.Errorf("replace: %w", d.Refusal(c.Old, ""))
	}
	heir, err := d.named(c.New)
	if err != nil {
		return fmt.Errorf("replace %s: %w", old.title(), err)
	}
	if heir.State == Leaving {
		return fmt.Errorf("replace %s: %s is leaving itself", old.title(), heir.title())
	}
	heir.State = Active
	d.heirs = append(d.heirs, c)
	if old.State == Removed {
		return nil
	}
	return Decommission{ID: c.Old}.apply(d)
}

func (c Replication) apply(d *draft) error {
	perDC := sortPerDC(c.PerDC)
	n := c.N
	if len(perDC) > 0 && n == 0 {
		for _, dc := range perDC {
			n += dc.N
		}
	}
	if err := checkShape(d.Q, n); err != nil {
		return err
	}
	if err := checkPerDC(n, perDC); err != nil {
		return err
	}
	before := &Ring{N: d.N, PerDC: d.PerDC}
	d.N, d.PerDC = n, perDC
	d.checks = append(d.checks, func() error { return d.checkAsked(before) })
	return nil
}

// checkAsked refuses to ask for more replicas than before where there are no members for
// them. Fewer than before may still be more than there are members for.
func (d *draft) checkAsked(before *Ring) error {
	text := "replication " + ReplicationText(d.N, d.PerDC)
	if len(d.PerDC) == 0 {
		if have := d.holders(""); d.N > have && d.N > before.N {
			return fmt.Errorf("%s: %s could hold a replica; add nodes first, or ask for %d at most", text, plural(have, "member"), have)
		}
		return nil
	}
	var dcs []string
	for i := range d.Members {
		if dc := d.Members[i].DC; !slices.Contains(dcs, dc) {
			dcs = append(dcs, dc)
		}
	}
	slices.Sort(dcs)
	for _, c := range d.PerDC {
		have, had := d.holders(c.DC), 0
		if len(before.PerDC) > 0 {
			had = before.replicasIn(c.DC)
		}
		switch {
		case c.N <= have || c.N <= had:
		case !slices.Contains(dcs, c.DC):
			return fmt.Errorf("%s: no member is in data centre %s; the data centres are %s", text, c.DC, strings.Join(dcs, ", "))
		default:
			return fmt.Errorf("%s: in data centre %s %s could hold a replica; add nodes there first, or ask for %d at most", text, c.DC, plural(have, "member"), have)
		}
	}
	return nil
}

func sortPerDC(perDC []DCReplicas) []DCReplicas {
	return slices.SortedFunc(slices.Values(perDC), func(a, b DCReplicas) int { return cmp.Compare(a.DC, b.DC) })
}

// named returns a member that is not removed.
func (d *draft) named(id NodeID) (*Member, error) {
	if err := d.Refusal(id, ""); err != nil {
		return nil, err
	}
	return d.Member(id), nil
}
