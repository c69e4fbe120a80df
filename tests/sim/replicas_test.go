package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kvstore/cluster/ring"
)

// changed has an operator change the ring at a machine, and waits for the end.
func (s *scene) changed(m int, what string, f changing) {
	s.t.Helper()
	done := false
	s.operate(s.machines[m], what, f, func(err error) {
		if done = true; err != nil {
			s.t.Errorf("%s: %v", what, err)
		}
	})
	s.run(time.Minute, what, func() bool { return done })
}

// More replicas are asked for, which is given up before any has come: what is planned next
// brings them. Then fewer are asked for, and more again, and who leaves or enters is killed.
func TestReplicasAreAddedAndTakenAway(t *testing.T) {
	moving(t, 4, 4, func(s *scene) {
		s.c.Least = 1
		s.changed(0, "pause", func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, true) })
		s.changed(1, "replication 4", plan(ring.Replication{N: 4}))
		s.changed(2, "abort", ring.Abort)
		if err := s.rightly(); err == nil || len(s.newest.Transfers) > 0 {
			t.Errorf("the plan was not given up: %v, %d transfers", err, len(s.newest.Transfers))
		}
		s.quiet() // resumes, and plans
		if n := len(s.newest.Replicas(0)); n != 4 {
			t.Errorf("%d replicas, want 4", n)
		}
		s.fill()
		for i, c := range []struct {
			n    int
			step ring.Step // at which who enters is killed, or who leaves
			to   bool
		}{{3, ring.Waiting, false}, {2, ring.Copying, false}, {3, ring.Copying, true}, {4, ring.Waiting, true}} {
			struck := s.strikeAt(c.step, c.to, 30*time.Second)
			s.operate(s.machines[i], fmt.Sprint("replication ", c.n), plan(ring.Replication{N: c.n}), nil) // which may be struck itself
			s.run(time.Minute, "one to be struck", func() bool { return *struck })
			s.pass(30 * time.Second)
			s.quiet()
			s.together("to be whole")
			if err := s.rightly(); err != nil || s.newest.N != c.n {
				t.Errorf("want %d replicas: %v", c.n, err)
			}
			s.fill()
		}
	})
}

// In some seeds in which members come and go the number of replicas changes too.
func TestPlansWithReplication(t *testing.T) {
	found := 0
	for seed := range uint64(5 * len(profiles())) {
		c := FromSeed(seed)
		asked := 0
		for i, s := range c.Plan.Strikes {
			if s.Number != i || i > 0 && s.At < c.Plan.Strikes[i-1].At {
				t.Errorf("seed %d: strike %d is %v", seed, i, s)
			}
			if s.Fault == Replicate {
				asked++
			}
		}
		if named := strings.HasSuffix(c.Profile, ", replication"); (asked > 0) != named || named && (c.Members == 0 || c.Least == 0) {
			t.Errorf("seed %d, %s: the number of replicas changes %d times", seed, c.Profile, asked)
		} else if named {
			found++
		}
	}
	if found != 5 {
		t.Errorf("%d seeds have such plans, want 5", found)
	}
}
