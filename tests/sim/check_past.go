package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"kvstore/cluster/version"
)

// made returns the versions that each operation has made.
func (p past) made() map[int][]version.Dot {
	by := make(map[int][]version.Dot)
	for d, w := range p {
		if w.Op >= 0 {
			by[w.Op] = append(by[w.Op], d)
		}
	}
	return by
}

// writes reports whether an acknowledged operation has written: not every one does.
func (o *Op) writes() bool {
	switch o.Command {
	case "set", "setpx", "getset", "append", "incr", "vset", "vdel":
		return true
	case "setnx", "del":
		return number(o.Reply) == 1
	}
	return false
}

// CheckAcknowledged: what was acknowledged is there, or was replaced by a version
// whose node had it when it made that version, and which is itself there or
// replaced likewise.
func (r *Result) CheckAcknowledged(key string) error {
	final, err := r.object(r.Replicas[key][0], key)
	if err != nil {
		return err
	}
	made, by := r.Dots.made(), r.Dots.successors(key)
	for _, o := range r.ops(key) {
		if o.Outcome != Acknowledged || !o.writes() {
			continue
		}
		kept := func(d version.Dot) bool { return r.Dots.kept(d, final, by, r.Ended.UnixMilli()) }
		if !slices.ContainsFunc(made[o.ID], kept) {
			return fmt.Errorf("key %s: operation %d, %v %q, is lost; it made %v; held is %s", key, o.ID, o.Command, brief(o.Value),
				made[o.ID], describe(r.Disks[r.Replicas[key][0]][key]))
		}
	}
	return nil
}

// CheckReturned: what an acknowledged operation has replaced or deleted is not
// there again.
func (r *Result) CheckReturned(key string) error {
	final, err := r.object(r.Replicas[key][0], key)
	if err != nil {
		return err
	}
	for d, w := range r.Dots {
		if w.Key != key || w.Op < 0 || !r.Stored[d] || r.History[w.Op].Outcome != Acknowledged {
			continue // one that was not stored was made anew elsewhere
		}
		for i := range final.Siblings {
			if s := &final.Siblings[i]; r.Dots.replaces(d, s.Dot) {
				return fmt.Errorf("key %s: %v %q is back, though operation %d (%v) had replaced it", key, s.Dot, brief(payload(s)), w.Op, w.Kind)
			}
		}
	}
	return nil
}

// CheckWritten: every value that was read was written to that key before, by an
// operation that was not refused; every number read was reached by increments.
func (r *Result) CheckWritten(key string) error {
	writes := make(map[string]*Op)
	var increments, appends int64
	for _, o := range r.ops(key) {
		switch {
		case o.Outcome == Refused:
		case o.Command == "incr":
			increments++
		case o.Command == "append":
			appends++
		case o.Value != "":
			writes[o.Value] = o
		}
	}
	if appends > 0 {
		return nil // values are put together; see CheckAtomic
	}
	for _, read := range r.ops(key) {
		if !read.reads() || read.Outcome != Acknowledged || read.Reply.Nil {
			continue
		}
		values := read.Reply.Values
		if read.Command == "get" {
			values = []string{read.Reply.Text}
		}
		for _, v := range values {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n > 0 && n <= increments {
				continue
			}
			if w := writes[v]; w == nil || w.Call > read.Return {
				return fmt.Errorf("operation %d read %q, which nobody had written to %s", read.ID, brief(v), key)
			}
		}
	}
	return nil
}

// CheckExpired: no read that begins after a value's deadline returns it.
func (r *Result) CheckExpired(key string) error {
	deadlines := make(map[string]int64)
	for _, w := range r.Dots {
		if w.Key == key && w.Kind == version.String {
			before, known := deadlines[w.Payload]
			if w.Deadline == 0 {
				deadlines[w.Payload] = 0
			} else if !known || before != 0 && w.Deadline > before {
				deadlines[w.Payload] = w.Deadline
			}
		}
	}
	for _, read := range r.ops(key) {
		if read.Command != "get" || read.Outcome != Acknowledged || read.Reply.Nil {
			continue
		}
		began := r.Began.Add(read.At - 2*r.Config.Skew)
		if version.Expired(deadlines[read.Reply.Text], began.UnixMilli()) {
			return fmt.Errorf("operation %d read %q %v after its deadline", read.ID, brief(read.Reply.Text),
				began.Sub(time.UnixMilli(deadlines[read.Reply.Text])))
		}
	}
	return nil
}

// CheckContexts: a write with a context replaces only what its client had seen:
// what was there beside that remains.
func (r *Result) CheckContexts(key string) error {
	replaced := r.Dots.successors(key)
	for d, w := range r.Dots {
		if w.Key != key || w.Op < 0 || r.History[w.Op].Command != "vset" && r.History[w.Op].Command != "vdel" {
			continue
		}
		o := r.History[w.Op]
		for _, over := range w.Over {
			was := r.Dots[over]
			others := slices.ContainsFunc(replaced[over], func(by version.Dot) bool { return by != d })
			if was.Kind == version.String && !slices.Contains(o.Saw, was.Payload) && was.Op != w.Op && !others {
				return fmt.Errorf("key %s: operation %d replaced %q, which its client had not seen", key, o.ID, brief(was.Payload))
			}
		}
	}
	return nil
}
