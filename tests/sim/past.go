package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// Written is one version that some node made: what one dot stands for.
type Written struct {
	Key      string
	Kind     version.Kind
	Payload  string
	Deadline int64
	// Op is the operation that made it, -1 for one nobody noted.
	Op int
	// Over are the versions that were there and that it replaced, Later those
	// that it replaces where they are met: its client had seen them, or its node
	// heard of them later, which may have come to nothing.
	Over, Later []version.Dot
}

// same reports whether two versions carry the same.
func (a Written) same(b Written) bool {
	return a.Key == b.Key && a.Kind == b.Kind && a.Payload == b.Payload && a.Deadline == b.Deadline
}

// past is every version ever made and what each replaced: the order of causes
// that replicas have to agree with. Nodes tell of their versions as they make
// them, under the key's lock.
type past map[version.Dot]Written

// watched is an operation that tells of every version it makes.
func (w *World) watched(op *coordinator.Op) *coordinator.Op {
	if !op.Write {
		return op
	}
	watched := *op
	watched.Run = func(c *coordinator.Call) {
		w.begin(c)
		op.Run(c)
	}
	watched.After = func(c *coordinator.Call) {
		if op.After != nil {
			op.After(c)
		}
		w.made(c)
	}
	return &watched
}

// begin notes what a run of an operation finds.
func (w *World) begin(c *coordinator.Call) {
	var found []version.Dot
	for i := range c.Object.Siblings {
		found = append(found, c.Object.Siblings[i].Dot)
	}
	w.mu.Lock()
	w.found[c] = found
	w.mu.Unlock()
}

// made notes the version a run has made: the newest sibling.
func (w *World) made(c *coordinator.Call) {
	s := c.Object.Newest()
	what := Written{Key: string(c.Key), Kind: s.Kind, Payload: payload(s), Deadline: s.Deadline, Op: opOf(c.Args)}
	w.mu.Lock()
	for _, d := range w.found[c] {
		if !c.Object.Has(d) {
			what.Over = append(what.Over, d)
			w.stored[d] = true
		}
	}
	delete(w.found, c)
	what.Later = w.coveredBy(c)
	if what.Op >= 0 {
		// What a first run of the operation made here is replaced by the
		// second. Elsewhere it was refused, and nothing was stored.
		for _, d := range w.runs[what.Op] {
			if d.Node == s.Dot.Node {
				what.Over = append(what.Over, d)
			}
		}
		w.runs[what.Op] = append(w.runs[what.Op], s.Dot)
	}
	before, known := w.dots[s.Dot]
	w.dots[s.Dot] = what
	w.mu.Unlock()
	if known && !before.same(what) {
		w.fail("dots", "dot %v stands for %+v and for %+v", s.Dot, before, what)
	}
}

// coveredBy returns the versions that the client of VCLOCK SET or DEL has seen, as
// its context says: they are replaced even if this node has not got them. The caller
// holds mu.
func (w *World) coveredBy(c *coordinator.Call) (dots []version.Dot) {
	if len(c.Args) < 4 || string(c.Args[0]) != "vclock" {
		return nil
	}
	var seen version.Context
	if err := seen.ParseToken(c.Args[3], c.ClusterID, ring.KeyHash(c.DB, c.Key)); err != nil {
		return nil // the operation has refused it
	}
	for d, what := range w.dots {
		if what.Key == string(c.Key) && seen.Covers(d) {
			dots = append(dots, d)
		}
	}
	return dots
}

// opOf finds an operation's number in its arguments.
func opOf(args [][]byte) int {
	for _, a := range args[1:] {
		text := string(a)
		if end := strings.IndexAny(text, "|;"); end > 1 && text[0] == 'v' {
			if n, err := strconv.Atoi(text[1:end]); err == nil {
				return n
			}
		}
	}
	return -1
}

// mended notes that a version is to replace another that its node had not seen
// when it made it.
func (w *World) mended(by, over version.Dot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what, known := w.dots[by]; known {
		what.Later = append(slices.Clone(what.Later), over)
		w.dots[by] = what
	}
}

// payload is what a sibling carries.
func payload(s *version.Sibling) string {
	if s.Kind == version.Counter {
		return fmt.Sprint(s.Delta)
	}
	return string(s.Value)
}

// successors returns, for each version of a key, those that replaced it.
func (p past) successors(key string) map[version.Dot][]version.Dot {
	by := make(map[version.Dot][]version.Dot)
	for d, w := range p {
		if w.Key == key {
			for _, over := range slices.Concat(w.Over, w.Later) {
				by[over] = append(by[over], d)
			}
		}
	}
	return by
}

// kept reports whether a version is held, or was replaced by one of which that is
// true: whether nothing of it is lost. A tombstone may be gone, and so may what has
// expired by now.
func (p past) kept(d version.Dot, held *version.Object, by map[version.Dot][]version.Dot, now int64) bool {
	seen := make(map[version.Dot]bool)
	var search func(version.Dot) bool
	search = func(d version.Dot) bool {
		if seen[d] {
			return false
		}
		seen[d] = true
		w := p[d]
		return held.Has(d) || w.Kind == version.Tombstone || version.Expired(w.Deadline, now) || slices.ContainsFunc(by[d], search)
	}
	return search(d)
}

// replaces reports whether a version replaced another, itself or by those it
// replaced.
func (p past) replaces(newer, older version.Dot) bool {
	seen := make(map[version.Dot]bool)
	var search func(version.Dot) bool
	search = func(d version.Dot) bool {
		if seen[d] {
			return false
		}
		seen[d] = true
		return slices.ContainsFunc(p[d].Over, func(over version.Dot) bool { return over == older || search(over) })
	}
	return search(newer)
}
