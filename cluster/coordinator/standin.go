package coordinator

import "math/bits"

// assign decides who may be asked: each replica, or in sloppy mode who stands in for
// it while it is down, which may be this node. The caller holds mu.
func (o *readOp) assign(place *placement, l Levels) {
	v := o.v
	o.own, o.mode, o.local, o.cast = int(v.own[o.part]), l.Mode, l.R.local(), cast{}
	usable, _ := v.reachable(o.part)
	lacking := place.blind // what these copies lack, no fallback has either
	if o.own >= 0 {
		lacks := v.states[o.part].lacks.Load()
		if o.outdated = lacks == lacksLatest && lacking == 0; lacks != 0 {
			lacking |= 1 << uint(o.own)
		}
	}
	if usable &^= lacking; o.others || lacking>>uint(o.own)&1 != 0 {
		usable &^= 1 << uint(o.own)
		o.own = -1
	}
	if o.tally.bad = place.all() &^ usable; o.tally.bad == 0 || l.Mode != Sloppy {
		return
	}
	o.tally.bad &^= v.fill(o.part, o.tally.bad&^lacking, &o.cast, o.local)
}

// standIn has a fallback asked for a replica that will not answer, or has not yet;
// false when there is none. This node is one only for who can read its own copy
// then. The caller holds mu.
func (o *readOp) standIn(place int, self bool) bool {
	if o.mode != Sloppy {
		return false
	}
	if i := o.v.fallbackAt(o.part, o.v.self); !self && i >= 0 {
		o.cast.tried |= 1 << uint(i)
	}
	if place == o.own || !o.v.standIn(o.part, place, &o.cast, o.local) {
		return false
	}
	bit := uint64(1) << uint(place)
	o.tally.bad &^= bit
	o.asked &^= bit
	return true
}

// replaceBad has a fallback asked for one of those who will not answer; false when
// there is none. The caller holds mu.
func (o *readOp) replaceBad() bool {
	for set := o.tally.bad &^ o.tally.ok &^ o.spent & o.v.places[o.part].all(); set != 0; set &= set - 1 {
		if o.standIn(bits.TrailingZeros64(set), true) {
			return true
		}
	}
	return false
}

// here returns the place at which this node stands in, as a set.
func (o *readOp) here() (places uint64) {
	for set := o.cast.stoodIn(); set != 0; set &= set - 1 {
		if place := bits.TrailingZeros64(set); o.v.actor(o.part, place, &o.cast).id == o.v.self {
			places |= 1 << uint(place)
		}
	}
	return places
}

// choose picks the best replica of a set, -1 when there is none. Replicas come
// before stand-ins, which know only what was written since they stand in: as long
// as one replica is left, it is asked.
func (o *readOp) choose(from uint64) int {
	usable, prompt := o.v.reachableBy(o.part, &o.cast)
	usable, prompt = usable&from, prompt&from
	if stoodIn := o.cast.stoodIn(); usable&^stoodIn != 0 {
		usable, prompt = usable&^stoodIn, prompt&^stoodIn
	}
	if o.turn != 0 {
		return o.turn.choose(usable, prompt, o.v.places[o.part].local)
	}
	return first(usable, prompt)
}
