package sim

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// lookEvery is the time between looks at all disks while a plan happens.
const lookEvery = time.Minute

// sighting is what all disks held at one time.
type sighting struct {
	at      time.Time
	objects []map[string]*version.Object // by machine; nil where the disk cannot be read
	encoded []map[string][]byte
	hints   [][]owed
	// dropped are the hints that each machine's process has dropped, and lives
	// which process it was.
	dropped []uint64
	lives   []int
	holders map[string][]int // the replicas of all keys, where members come and go
}

// holds reports whether a machine was a replica of a key.
func (s *sighting) holds(name string, m int) bool {
	return s.holders == nil || slices.Contains(s.holders[name], m)
}

// inspectEvery looks at all disks again and again while the plan happens.
func (w *World) inspectEvery() {
	w.loop.after(lookEvery, func() {
		if w.ending || w.failed() {
			return
		}
		w.look()
		w.inspectEvery()
	})
}

// look reads all disks and checks what must be true of them at any time. It
// reports whether all could be read.
func (w *World) look() bool {
	now := &sighting{at: time.Now()}
	if w.dynamic() {
		now.holders = make(map[string][]int)
		for _, k := range w.c.Keys {
			now.holders[k.Name] = w.replicasOf(k.Name)
		}
	}
	whole := true
	for _, m := range w.machines {
		disk, err := &contents{objects: map[string][]byte{}}, error(nil)
		if !m.out {
			disk, err = m.contents()
		}
		if err != nil {
			disk, whole = &contents{}, false
			w.differing = err.Error()
			if !m.behind && !m.excused(err) {
				w.fail("stands", "%v", err)
			}
		}
		now.encoded, now.hints = append(now.encoded, disk.objects), append(now.hints, disk.hints)
		now.dropped, now.lives = append(now.dropped, m.dropped()), append(now.lives, m.lives)
		objects := make(map[string]*version.Object)
		for name, b := range disk.objects {
			o, err := decoded(b)
			if err != nil {
				w.fail("stands", "key %s on %s: %v", name, m.name(), err)
				return false
			}
			objects[name] = o
			w.ordered(m, name, o)
		}
		now.objects = append(now.objects, objects)
	}
	if w.sighted != nil {
		w.collected(w.sighted, now)
		w.delivered(w.sighted, now)
	}
	w.sighted = now
	return whole
}

// ordered checks an object as it lies on a disk: each sibling was made by some
// node as it is, and none of them had replaced another.
func (w *World) ordered(m *machine, name string, o *version.Object) {
	w.mu.Lock()
	err := w.dots.check(name, o)
	for i := range o.Siblings {
		w.stored[o.Siblings[i].Dot] = true
	}
	w.mu.Unlock()
	if err != nil {
		w.fail(err.Invariant, "on %s: %s", m.name(), err.Text)
	}
}

// check checks one object against the past.
func (p past) check(name string, o *version.Object) *Violation {
	for i := range o.Siblings {
		s := &o.Siblings[i]
		made, known := p[s.Dot]
		if held := (Written{Key: name, Kind: s.Kind, Payload: payload(s), Deadline: s.Deadline}); !known || !held.same(made) {
			return &Violation{"dots", fmt.Sprintf("%+v is held under %v, which was made for %+v", held, s.Dot, made)}
		}
		for j := range o.Siblings {
			if t := &o.Siblings[j]; i != j && p.replaces(s.Dot, t.Dot) {
				return &Violation{"siblings", fmt.Sprintf("key %s: %v of operation %d had replaced %v of %d, and both are held",
					name, s.Dot, made.Op, t.Dot, p[t.Dot].Op)}
			}
		}
	}
	return nil
}

// collected checks that where a tombstone, or an expired value, was forgotten, no
// replica holds what it replaced.
func (w *World) collected(before, now *sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, objects := range before.objects {
		if w.lostSince(m, before.at) || now.encoded[m] == nil {
			continue
		}
		for name, o := range objects {
			for i := range o.Siblings {
				s := &o.Siblings[i]
				holds := now.objects[m][name]
				if gone := holds == nil || !holds.Context.Covers(s.Dot); gone {
					w.collectedTooEarly(now, m, name, s)
				}
			}
		}
	}
}

// collectedTooEarly looks for a replica that has not seen what another forgot. Who was
// declared dead is none, whatever its disk holds. The caller holds mu.
func (w *World) collectedTooEarly(now *sighting, m int, name string, forgotten *version.Sibling) {
	for other, objects := range now.objects {
		holds, o := objects[name], w.machines[other]
		if holds == nil || o.behind || w.dynamic() && w.hasNoPart(o) || !slices.Contains(w.replicasOf(name), m) || w.dynamic() && !w.steady(name, m) {
			continue
		}
		for i := range holds.Siblings {
			if d := holds.Siblings[i].Dot; w.dots.replaces(forgotten.Dot, d) {
				w.failures = append(w.failures, Violation{"collected", fmt.Sprintf("key %s: n%d has forgotten %v %v, and n%d holds %v, which it replaced",
					name, m, forgotten.Kind, forgotten.Dot, other, d)})
			}
		}
	}
}

// replicasOf returns the machines that are to hold a key, none before there is a
// ring.
func (w *World) replicasOf(name string) (machines []int) {
	if machines, known := w.holders[name]; known {
		return machines
	}
	if w.dynamic() {
		return w.replicasNow(name)
	}
	for _, m := range w.machines {
		if node := m.up(); node != nil {
			r := node.Ring()
			for _, id := range r.Replicas(r.PartitionOf(ring.TokenOf(0, []byte(name)))) {
				machines = append(machines, slices.IndexFunc(w.machines, func(m *machine) bool { return m.known == id }))
			}
			if len(r.Members) == len(w.machines) && !slices.Contains(machines, -1) {
				w.holders[name] = machines // the ring does not change any more
			}
			return machines
		}
	}
	return nil
}

// level reports whether at the last look all replicas of every key held the same,
// and nobody else anything; then no loss is left to make good. What says only that
// there is nothing may be forgotten by some and not yet by others.
func (w *World) level() bool {
	s := w.sighted
	for m, objects := range s.objects {
		if s.encoded[m] == nil {
			w.differing = w.machines[m].name() + " cannot be read"
			return false
		}
		for name, o := range objects {
			if !gone(o, s.at) && !w.same(name, m) {
				return false
			}
		}
	}
	for _, m := range w.machines {
		m.behind = false
	}
	return true
}

// same reports whether all replicas of a key hold what a machine does, and that is
// one of them.
func (w *World) same(name string, m int) bool {
	replicas := w.replicasOf(name)
	if !slices.Contains(replicas, m) {
		w.differing = fmt.Sprintf("%s holds %s and is no replica of it", w.machines[m].name(), name)
		return false
	}
	for _, other := range replicas {
		if a, b := w.sighted.encoded[m][name], w.sighted.encoded[other][name]; !bytes.Equal(a, b) {
			w.differing = fmt.Sprintf("of %s %s holds %s and %s %s", name, w.machines[m].name(), describe(a), w.machines[other].name(), describe(b))
			return false
		}
	}
	return true
}
