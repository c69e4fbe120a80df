package coordinator

import "math/bits"

// maxGroups bounds the data centres that each_quorum can count apart.
const maxGroups = 8

// tally counts the answers of a replica set. Replicas are named by their place
// in the preference list, so sets of them are bits.
type tally struct {
	groups [maxGroups]group
	n      int    // groups in use
	ok     uint64 // acknowledged
	bad    uint64 // will not acknowledge: unreachable, refused or failed
	pair   pair   // of a write, the place that two nodes have to acknowledge
}

// pair is the place of a replica set that a transfer is under way for. Its partner
// answers by a place of its own, behind those of the list. The zero pair is none.
type pair struct {
	place   uint64 // the place in the list, as a set
	partner uint64 // the partner's, as a set
}

// group is a set of replicas of which need must acknowledge.
type group struct {
	members uint64
	need    int
}

// placement is what a tally has to know of a replica set.
type placement struct {
	n     int               // replicas
	local uint64            // those in the coordinator's data centre
	dcs   [maxGroups]uint64 // replicas of each data centre
	ndcs  int
	pair  pair   // who gets writes beside a replica
	blind uint64 // those that take writes and answer no reads: they are being filled
}

// all is the set of all replicas.
func (p *placement) all() uint64 { return 1<<uint(p.n) - 1 }

// writers is the set of all who get writes: the replicas and the partner.
func (p *placement) writers() uint64 { return p.all() | p.pair.partner }

// width is how many get writes.
func (p *placement) width() int {
	if p.pair.partner != 0 {
		return p.n + 1
	}
	return p.n
}

// least is how many replicas the data centre has that has the fewest.
func (p *placement) least() int {
	least := p.n
	for _, dc := range p.dcs[:p.ndcs] {
		least = min(least, bits.OnesCount64(dc))
	}
	return least
}

// overlap reports whether replicas that satisfy r always include one of those
// that satisfied w, so that a read sees every such write. A local r is held
// against what w leaves to the coordinator's data centre.
func (p *placement) overlap(r, w Level) bool {
	local := bits.OnesCount64(p.local)
	if r != LocalOne && r != LocalQuorum {
		return r.Count(p.n, local)+w.Count(p.n, local) > p.n
	}
	written := w.Count(p.n, local)
	switch w {
	case LocalOne, LocalQuorum:
	case EachQuorum:
		written = local/2 + 1
	default:
		written -= p.n - local // as many as possible are elsewhere
	}
	return r.Count(p.n, local)+written > local
}

// newTally returns the tally of a level over a replica set; possible is false
// when the level asks for more replicas than there are. It is a read's, which
// knows no pairs.
func newTally(l Level, p *placement) (t tally, possible bool) {
	switch l {
	case EachQuorum:
		t.n = p.ndcs
		for i := range p.ndcs {
			t.groups[i] = group{p.dcs[i], bits.OnesCount64(p.dcs[i])/2 + 1}
		}
	case LocalOne, LocalQuorum:
		t.n = 1
		t.groups[0] = group{p.local, l.Count(p.n, bits.OnesCount64(p.local))}
	default:
		t.n = 1
		t.groups[0] = group{p.all(), l.Count(p.n, 0)}
	}
	for i := range t.n {
		if g := &t.groups[i]; g.need > bits.OnesCount64(g.members) {
			return t, false
		}
	}
	return t, true
}

// newWriteTally is newTally for writes: the place of a pair counts once both have
// acknowledged.
func newWriteTally(l Level, p *placement) (t tally, possible bool) {
	t, possible = newTally(l, p)
	t.pair = p.pair
	return t, possible
}

// met reports whether enough replicas have acknowledged.
func (t *tally) met() bool { return t.metBy(t.ok) }

// metBy reports whether the replicas in ok are enough.
func (t *tally) metBy(ok uint64) bool {
	if ok&t.pair.partner == 0 {
		ok &^= t.pair.place
	}
	for i := range t.n {
		if g := &t.groups[i]; bits.OnesCount64(g.members&ok) < g.need {
			return false
		}
	}
	return true
}

// hopeless reports whether too many replicas are bad for it ever to be met.
func (t *tally) hopeless() bool {
	bad := t.bad
	if bad&t.pair.partner != 0 {
		bad |= t.pair.place
	}
	for i := range t.n {
		if g := &t.groups[i]; bits.OnesCount64(g.members&^bad) < g.need {
			return true
		}
	}
	return false
}

// missing returns how many more acknowledgements the replicas in asked could
// still not bring: the number that has to be asked in addition, from candidates.
func (t *tally) missing(asked uint64) (more int, from uint64) {
	for i := range t.n {
		g := &t.groups[i]
		if short := g.need - bits.OnesCount64(g.members&asked&^t.bad); short > 0 {
			more += short
			from |= g.members
		}
	}
	return more, from &^ asked &^ t.bad
}
