package sim

import (
	"context"
	"testing"
	"time"

	"kvstore/cluster/ring"
)

// recovered has the cluster of those that a machine reaches recovered by force.
func (s *scene) recovered(m int) {
	s.t.Helper()
	node, done := s.machines[m].up(), false
	s.background.Go(func() {
		err := node.Recover(context.Background())
		s.loop.after(0, func() {
			if done = true; err != nil {
				s.t.Errorf("recover at n%d: %v", m, err)
			}
		})
	})
	s.run(time.Minute, "the cluster to be recovered", func() bool { return done })
}

// Two of five machines are made the cluster, though the others live and are only out of
// reach: those go on by themselves. When they meet, the later generation has it. The
// others end, and nothing that they have written since is there.
func TestAnOldMajorityIsFenced(t *testing.T) {
	play(t, func(c *Config) { c.Machines, c.Members, c.N, c.MaxDown = 5, 5, 4, 3 }, func(s *scene) {
		s.set(0, quorums, Acknowledged)
		s.run(5*time.Minute, "all to be level", func() bool { return s.look() && s.level() })
		s.split(1<<0|1<<1, time.Hour)
		s.pass(4 * time.Second)
		s.recovered(0)
		s.pass(5 * time.Second)
		ours := s.set(1, quorums, Acknowledged)
		s.ask(2, sloppily, "set", "k", "set", "k", "theirs")
		if text := s.ask(3, sloppily, "get", "k", "get", "k").String(); text != "theirs" {
			t.Errorf("the old majority reads %q", text)
		}
		done := false
		s.operate(s.machines[2], "pause", func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, true) }, func(err error) {
			if done = true; err != nil {
				t.Errorf("the old majority has a ring of its own still: %v", err)
			}
		})
		s.run(time.Minute, "the old majority to decide", func() bool { return done })
		s.heal()
		if s.inside() != 2 || s.newest.Generation != 1 || s.newest.Paused {
			t.Errorf("%d machines are left, of %v", s.inside(), s.newest)
		}
		s.get(0, quorums, ours)
		for _, m := range s.machines[2:] {
			m.enter()
		}
		s.together("to grow again")
		s.quiet()
		s.get(4, quorums, ours)
	})
}

// Who joins waits for a commit, through whatever else is planned.
func TestWhoJoinsWaitsForACommit(t *testing.T) {
	play(t, func(c *Config) {
		c.Machines, c.Members, c.Waits = 4, 3, true
		c.Keys = elements("e", 24, Strictly)
	}, func(s *scene) {
		s.fill()
		s.machines[3].enter()
		s.together("to have a fourth member")
		joined := func() ring.State { return s.newest.Member(s.machines[3].known).State }
		for _, change := range []changing{ring.Abort, plan(ring.Weight{ID: s.machines[0].known, W: 1.01})} {
			s.operate(s.machines[1], "something else", change, nil)
			s.pass(20 * time.Second)
			if state := joined(); state != ring.Joining || len(s.newest.Transfers) > 0 {
				t.Errorf("it is %v, and nobody has let it in", state)
			}
		}
		s.operate(s.machines[3], "commit", plan(ring.Commit{}), nil)
		s.run(time.Minute, "it to be let in", func() bool { return joined() == ring.Active })
		s.quiet()
		s.fill()
	})
}

// Of three voters one is left, which decides alone, and at once. The others come back and
// are refused; what would start them once more finds that they have no part in the cluster.
func TestOneOfThreeIsLeft(t *testing.T) {
	play(t, func(c *Config) { c.Members = 3 }, func(s *scene) {
		s.set(0, quorums, Acknowledged)
		s.run(5*time.Minute, "all to be level", func() bool { return s.look() && s.level() })
		s.loseMajority(Strike{Length: 5 * time.Second}, time.Now().Add(time.Minute))
		s.run(time.Minute, "one to be left", func() bool { return s.inside() == 1 })
		for _, m := range s.machines {
			if m.start(); m.out != (m.process == nil) {
				t.Errorf("%s runs, and has no part in the cluster", m.name())
			}
		}
		s.set(s.anyUp(0).index, quorums, Acknowledged)
	})
}

// Those that a cluster was recovered without come back when its ring has forgotten them:
// they know it still, call it, and hear that they have no part in it; gossip tells nobody.
func TestWhoWasForgottenIsTold(t *testing.T) {
	play(t, func(c *Config) { c.Machines, c.Members, c.Stretch = 4, 3, 20 }, func(s *scene) {
		s.set(0, quorums, Acknowledged)
		s.run(5*time.Minute, "all to be level", func() bool { return s.look() && s.level() })
		s.loseMajority(Strike{Length: 5 * time.Minute}, time.Now().Add(time.Minute))
		s.run(time.Minute, "the cluster to be recovered", func() bool { return s.newest.Generation == 1 })
		s.machines[3].enter()
		s.run(4*time.Minute, "the lost to be forgotten", func() bool { return len(s.newest.Members) == 2 && len(s.newest.Transfers) == 0 })
		lost := func(addr string) bool { return s.hasNoPart(s.machines[s.machineAt(addr)]) }
		s.gossip.SetFate(func(from, to string) (time.Duration, bool) { return 0, lost(from) != lost(to) })
		s.run(6*time.Minute, "the lost to come back", func() bool { return s.down() == 0 })
		s.pass(200 * time.Millisecond)
		s.gossip.SetFate(s.fate)
		for _, m := range s.machines {
			if m.up() != nil && s.hasNoPart(m) {
				t.Errorf("%s is there still", m.name())
			}
		}
		s.run(time.Minute, "them to be out", func() bool { return s.inside() == 2 })
	})
}
