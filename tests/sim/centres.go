package sim

import (
	"strconv"
	"time"

	"kvstore/cluster/coordinator"
)

// Levels of clients in several data centres. What satisfies one of the first two meets
// what satisfies the other.
var (
	wide = []coordinator.Level{coordinator.EachQuorum, coordinator.EachQuorum, coordinator.Quorum, coordinator.All}
	near = []coordinator.Level{coordinator.LocalQuorum}
	here = []coordinator.Level{coordinator.LocalQuorum, coordinator.LocalOne}
)

// across are the keys of runs in several data centres.
func across() []KeySpec {
	return append([]KeySpec{
		{Name: "q1", Commands: register3, R: wide, W: wide, Check: Linear},
		{Name: "q2", Commands: []string{"set", "set", "get"}, R: wide, W: wide, Check: Linear},
		{Name: "all", Commands: []string{"set", "get", "get"}, R: here, W: every, Check: Fresh},
		{Name: "each", Commands: []string{"set", "get", "get"}, R: near, W: []coordinator.Level{coordinator.EachQuorum}, Check: Fresh},
		{Name: "l1", Commands: []string{"set", "get", "get"}, R: near, W: near, Check: FreshNearby},
		{Name: "l4", Commands: register3, R: near, W: near},
		{Name: "l2", Commands: []string{"incr", "incr", "get"}, R: near, W: near, Check: Counted},
		{Name: "l3", Commands: register3, R: near, W: near, Mode: Sloppily},
		{Name: "n1", Commands: []string{"incr", "incr", "get"}, R: wide, W: wide, Check: Counted},
		{Name: "v1", Commands: []string{"vget", "vget", "vset", "vset", "vdel"}, R: near, W: near, Mode: Mixed},
		{Name: "x1", Commands: []string{"setpx", "get", "setpx", "get", "del"}, R: here, W: near},
	}, elements("e", 6, Mixed)...)
}

// nearby returns those of some operations that were asked of a data centre.
func (r *Result) nearby(ops []*Op, c int) (near []*Op) {
	for _, o := range ops {
		if m, err := strconv.Atoi(o.Machine[1:]); err == nil && m%r.Config.Centres == c {
			near = append(near, o)
		}
	}
	return near
}

// strikeCentre takes a data centre away from the others, or all its machines from it.
func (w *World) strikeCentre(s Strike) {
	if w.c.Centres == 0 {
		return
	}
	name, set := centre(int(s.Draw%uint64(w.c.Centres))), uint64(0)
	for _, m := range w.machines {
		if m.centre() == name {
			set |= 1 << uint(m.index)
		}
	}
	if s.Fault == Sever {
		w.split(set, s.Length)
		return
	}
	if w.down() > 0 {
		return
	}
	w.note("fault: %s is lost, for %v", name, s.Length)
	for _, m := range w.machines {
		if set>>uint(m.index)&1 != 0 && !m.out && m.process != nil {
			m.wanted = false
			m.kill()
			w.loop.after(s.Length+time.Duration(m.index)*time.Millisecond, m.start)
		}
	}
}
