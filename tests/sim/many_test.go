package sim

import (
	"flag"
	"slices"
	"testing"
	"time"

	"kvstore/cluster/ring"
)

// Of a hundred, as the proof has it, these tests take over a minute.
var most = flag.Int("most", 30, "how many machines the largest rings have")

// many plays a scene on a ring of many machines, with gossip as a server has it.
func many(t *testing.T, machines, members int, act func(s *scene)) {
	t.Helper()
	c := FromSeed(8)
	c.Machines, c.Members, c.MaxDown, c.Racks = machines, members, machines, 10
	c.Partitions, c.Stretch, c.Skew, c.Trouble = 256, 0, 0, Trouble{}
	c.Keys, c.Clients = elements("e", 24, Strictly), 1
	forming(t, c, func(s *scene) {
		for _, m := range s.machines[:members] {
			m.start()
		}
		if s.formed = s.run(5*time.Minute, "the ring to form", s.whole); s.formed {
			act(s)
		}
	})
}

// spread changes the ring and returns how long it takes until everybody has it.
func (s *scene) spread() time.Duration {
	s.t.Helper()
	before, began := s.newest.Epoch, time.Now()
	s.operate(s.machines[0], "pause", func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, !r.Paused) }, nil)
	s.run(time.Minute, "a ring to spread", func() bool {
		return s.newest.Epoch > before && !slices.ContainsFunc(s.machines, func(m *machine) bool { return !m.out && m.up().Ring().Epoch <= before })
	})
	return time.Since(began)
}

// Rings of more and more machines: what gossip costs and how long a ring takes to
// everybody are printed.
func TestGossipGrows(t *testing.T) {
	frugal(t)
	for _, n := range []int{10, *most} {
		many(t, n, n, func(s *scene) {
			s.pass(5 * time.Second)
			const seconds = 20
			before := s.gossiped.Load()
			s.pass(seconds * time.Second)
			each := (s.gossiped.Load() - before) / seconds / int64(n)
			t.Logf("%3d machines: each gossips %d bytes a second; a ring is everywhere after %v", n, each, s.spread())
			if each > 50_000 {
				t.Errorf("%d bytes a second", each)
			}
		})
	}
}

// A ring of many loses a tenth for good, grows by as many, and is whole.
func TestManyMachinesDieAndCome(t *testing.T) {
	frugal(t)
	tenth := *most / 10
	many(t, *most+tenth, *most, func(s *scene) {
		s.fill()
		var dead []ring.Change
		for _, m := range s.machines[tenth : 2*tenth] {
			dead = append(dead, ring.Remove{ID: m.known, Lose: true})
			m.kill()
			m.wanted = false
		}
		s.pass(10 * time.Second)
		s.operate(s.machines[0], "remove a tenth", plan(dead...), func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		for _, m := range s.machines[tenth : 2*tenth] {
			m.depart()
		}
		for _, m := range s.machines[*most:] {
			m.enter()
		}
		began := time.Now()
		s.quiet()
		t.Logf("nothing moves any more after %v, at epoch %d", time.Since(began), s.newest.Epoch)
		if s.run(time.Minute, "the ring to be whole", s.whole); s.inside() != *most || len(s.newest.Members) != *most {
			t.Errorf("%d machines are members of a ring of %d", s.inside(), len(s.newest.Members))
		}
		s.fill()
	})
}
