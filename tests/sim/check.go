package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"kvstore/cluster/version"
)

// Check says which promise a key's operations are checked for. What is
// acknowledged is there, refused nowhere and equal everywhere, always.
type Check uint8

const (
	// Nothing more.
	Kept Check = iota
	// Linear: GET, SET and DEL are linearizable.
	Linear
	// Fresh: no GET returns what was surely overwritten.
	Fresh
	// FreshNearby: no GET returns what was surely overwritten in its data centre.
	FreshNearby
	// Atomic: all commands are linearizable; the ring is undisturbed.
	Atomic
	// Counted: only INCR; every acknowledged increment counts.
	Counted
)

// Verify checks everything and returns what does not hold.
func (r *Result) Verify() []Violation {
	all := slices.Clone(r.Failures)
	note := func(invariant string, err error) {
		if err != nil {
			all = append(all, Violation{invariant, err.Error()})
		}
	}
	for _, k := range r.Config.Keys {
		ops := r.ops(k.Name)
		switch k.Check {
		case Linear:
			note("linearizable", CheckRegister(ops))
		case Fresh:
			note("fresh", CheckFresh(ops, ops))
		case FreshNearby:
			for c := range r.Config.Centres {
				note("fresh", CheckFresh(ops, r.nearby(ops, c)))
			}
		case Atomic:
			note("atomic", CheckAtomic(ops))
		}
		note("written", r.CheckWritten(k.Name))
		note("expired", r.CheckExpired(k.Name))
		note("context", r.CheckContexts(k.Name))
		if len(r.Disks) > 0 {
			note("equal", r.CheckEqual(k.Name))
			note("acknowledged", r.CheckAcknowledged(k.Name))
			note("returned", r.CheckReturned(k.Name))
			if k.Check == Counted {
				note("acknowledged", r.CheckCounted(k.Name))
			}
		}
	}
	note("refused", r.CheckRefused())
	if v := r.CheckDots(); v != nil {
		all = append(all, *v)
	}
	return all
}

// CheckEqual: the replicas of a key hold the same bytes, and nobody else holds it.
// An object that says only that there is nothing may be forgotten.
func (r *Result) CheckEqual(key string) error {
	var want []byte
	for _, machine := range r.Replicas[key] {
		if o, err := r.object(machine, key); err != nil {
			return err
		} else if !gone(o, r.Ended) {
			want = r.Disks[machine][key]
		}
	}
	for machine, disk := range r.Disks {
		holds, should := disk[key], want
		o, err := r.object(machine, key)
		if !slices.Contains(r.Replicas[key], machine) {
			should = nil
		}
		if err != nil || !bytes.Equal(holds, should) && (should != nil || !gone(o, r.Ended)) {
			return fmt.Errorf("key %s: machine %d holds %s, it should hold %s", key, machine, describe(holds), describe(should))
		}
	}
	return nil
}

func describe(encoded []byte) string {
	if encoded == nil {
		return "nothing"
	}
	var o version.Object
	if err := o.Decode(encoded); err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("{context %v siblings", o.Context)
	for i := range o.Siblings {
		s := &o.Siblings[i]
		text += fmt.Sprintf(" %v %v %q", s.Dot, s.Kind, brief(payload(s)))
	}
	return text + "}"
}

// CheckCounted: a key that was only incremented holds every acknowledged
// increment, and no more than were asked for.
func (r *Result) CheckCounted(key string) error {
	least, most := int64(0), int64(0)
	for _, o := range r.ops(key) {
		switch {
		case o.Command != "incr" || o.Outcome == Refused:
		case o.Outcome == Acknowledged:
			least, most = least+1, most+1
		default:
			most++
		}
	}
	final, err := r.object(r.Replicas[key][0], key)
	if err != nil {
		return err
	}
	if n := final.Value(0, nil).Int; n < least || n > most {
		return fmt.Errorf("key %s counts %d, it was incremented between %d and %d times", key, n, least, most)
	}
	return nil
}

// CheckRefused: what was refused is nowhere.
func (r *Result) CheckRefused() error {
	refused := make(map[string]*Op)
	for _, o := range r.History {
		if o.Outcome == Refused && o.Value != "" {
			refused[o.Value] = o
		}
	}
	for d, w := range r.Dots {
		if o := refused[w.Payload]; o != nil && r.Stored[d] {
			return fmt.Errorf("operation %d was refused (%v), and version %v has its value", o.ID, o.Err, d)
		}
	}
	for _, o := range r.History {
		if w := refused[o.Reply.Text]; w != nil {
			return fmt.Errorf("operation %d was refused (%v), and operation %d saw its value", w.ID, w.Err, o.ID)
		}
	}
	return nil
}

// CheckDots: what the disks hold under a dot is what was issued under it, and no
// sibling was replaced by another.
func (r *Result) CheckDots() *Violation {
	for machine, disk := range r.Disks {
		for key := range disk {
			o, err := r.object(machine, key)
			if err != nil {
				return &Violation{"dots", err.Error()}
			}
			if v := r.Dots.check(key, o); v != nil {
				return v
			}
		}
	}
	return nil
}

// CheckFresh: none of some reads returns what was surely overwritten by one of the writes
// beside them before it began: a value whose write had ended before another write began
// that ended before.
func CheckFresh(all, ops []*Op) error {
	writes := map[string]*Op{}
	for _, o := range all {
		if o.Command == "set" {
			writes[o.Value] = o
		}
	}
	for _, read := range ops {
		if read.Command != "get" || read.Outcome != Acknowledged {
			continue
		}
		ended := int64(0) // of the write that was read; nothing counts as written before all
		if !read.Reply.Nil {
			w := writes[read.Reply.Text]
			if w == nil {
				return fmt.Errorf("operation %d read %q, which nobody wrote", read.ID, brief(read.Reply.Text))
			}
			ended = w.Return
		}
		for _, w := range ops {
			if w.Command == "set" && w.Outcome == Acknowledged && w.Call > ended && w.Return < read.Call {
				return fmt.Errorf("operation %d read %s, though operation %d had overwritten it", read.ID, read.result(), w.ID)
			}
		}
	}
	return nil
}

// number reads a reply that is an integer.
func number(r Reply) int64 {
	n, err := strconv.ParseInt(r.Text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
