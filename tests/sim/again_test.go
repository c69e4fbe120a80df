package sim

import (
	"testing"
	"time"
)

// A node that stood in counted, has handed that over and forgotten it, and stands in
// again: its new counts must not replace its old ones.
func TestAStandInCountsAgain(t *testing.T) {
	play(t, func(c *Config) { onFive(c); counting(c) }, func(s *scene) {
		others, set := s.others("n"), uint64(0)
		for _, m := range others {
			set |= 1 << uint(m)
		}
		for range 2 {
			s.split(set, time.Hour)
			s.pass(4 * time.Second)
			for range 2 {
				if o := s.do(others[0], sloppily, "incr", "n"); o.Outcome != Acknowledged {
					t.Errorf("%v", o)
				}
			}
			s.heal()
			s.handedOff()
			s.pass(2 * time.Minute)
		}
		s.incr(others[0], "5")
	})
}

// A node counted as a replica, handed its partition over and dropped it, and then
// stands in for those that hold it now: the same is true.
func TestAFormerReplicaCountsAgain(t *testing.T) {
	play(t, func(c *Config) { c.Machines, c.Members, c.N = 7, 3, 3; counting(c) }, func(s *scene) {
		for range 3 {
			for m := range 3 {
				s.do(m, quorums, "incr", "n")
			}
		}
		for _, m := range s.machines[3:] {
			m.enter()
		}
		s.run(time.Minute, "all to join", func() bool { return len(s.newest.Members) == 7 })
		s.quiet()
		s.together("to be whole")
		s.pass(time.Minute)
		set := uint64(0)
		for _, m := range s.others("n") {
			set |= 1 << uint(m)
		}
		s.split(set, time.Hour)
		s.pass(4 * time.Second)
		for _, m := range s.others("n") {
			s.do(m, sloppily, "incr", "n")
			s.do(m, sloppily, "incr", "n")
		}
		s.heal()
		s.handedOff()
	})
}
