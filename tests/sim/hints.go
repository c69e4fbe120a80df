package sim

import (
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/version"
)

// dropped counts the hints that a machine's process has dropped since it began.
func (m *machine) dropped() (n uint64) {
	if node := m.up(); node != nil {
		for _, s := range node.Hints() {
			n += s.Dropped
		}
	}
	return n
}

// owed counts the hints that all nodes keep.
func (w *World) owed() (n int64) {
	for _, m := range w.machines {
		if node := m.up(); node != nil {
			for _, s := range node.Hints() {
				n += s.Count
			}
		}
	}
	return n
}

// handedOff waits until every hint is delivered.
func (w *World) handedOff() bool {
	end := time.Now().Add(handoffWithin)
	for w.owed() > 0 && !w.failed() {
		if !time.Now().Before(end) {
			w.fail("hints", "%v after everybody is back %s", handoffWithin, w.owing())
			return false
		}
		w.pass(time.Second)
	}
	return !w.failed()
}

// owing says who owes what to whom.
func (w *World) owing() (text string) {
	w.look()
	for i, m := range w.machines {
		if m.up() == nil {
			continue
		}
		for _, s := range m.up().Hints() {
			target := slices.IndexFunc(w.machines, func(m *machine) bool { return m.known == s.Target })
			if s.Count > 0 {
				text += fmt.Sprintf("%s keeps %d hints for n%d, which it sees as %s (sent %d, dropped %d); ", m.name(), s.Count, target, m.up().State(s.Target), s.Sent, s.Dropped)
			}
		}
		for _, h := range w.sighted.hints[i] {
			text += fmt.Sprintf("its disk has one of %s; ", h.name)
		}
	}
	return text
}

// handoffWithin is how long hints may be kept once everybody is there.
const handoffWithin = 2 * time.Minute

// delivered checks that what was owed to a machine at one look and is not at the
// next has arrived there, or that its loss was counted.
func (w *World) delivered(before, now *sighting) {
	for m, hints := range before.hints {
		if now.encoded[m] == nil || w.lostSince(m, before.at) {
			continue
		}
		lived := before.lives[m] == now.lives[m]
		if !lived || now.dropped[m] > before.dropped[m] {
			continue // it may have dropped some, and said so
		}
		for _, h := range hints {
			target := slices.IndexFunc(w.machines, func(m *machine) bool { return m.known == h.target })
			owes := before.objects[m][h.name]
			if target < 0 || owes == nil || !before.holds(h.name, target) || !now.holds(h.name, target) || slices.Contains(now.hints[m], h) || w.lostSince(target, before.at) || now.encoded[target] == nil {
				continue
			}
			has := now.objects[target][h.name]
			if has == nil {
				has = new(version.Object)
			}
			if !w.holdsAll(h.name, has, owes, now.at) {
				w.fail("hints", "key %s: %s no longer keeps a hint for %s, which holds %s of %s", h.name,
					w.machines[m].name(), w.machines[target].name(), describe(now.encoded[target][h.name]), describe(before.encoded[m][h.name]))
			}
		}
	}
}

// holdsAll reports whether an object has what another one has, or what replaced it.
func (w *World) holdsAll(name string, o, other *version.Object, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	by := w.dots.successors(name)
	return !slices.ContainsFunc(other.Siblings, func(s version.Sibling) bool { return !w.dots.kept(s.Dot, o, by, now.UnixMilli()) })
}

// lostSince reports whether a machine has lost writes since a time.
func (w *World) lostSince(m int, at time.Time) bool {
	return w.machines[m].behind || !w.machines[m].lostAt.Before(at)
}

// gone reports whether an object says only that there is nothing, which may be
// forgotten.
func gone(o *version.Object, now time.Time) bool {
	return !slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool {
		return s.Kind != version.Tombstone && !version.Expired(s.Deadline, now.UnixMilli())
	})
}
