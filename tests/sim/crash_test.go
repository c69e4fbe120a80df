package sim

import (
	"fmt"
	"testing"
	"time"

	"kvstore/cluster/ring"
)

// moving plays a scene on machines of which some are out, with data in every
// partition that its keys fall into.
func moving(t *testing.T, machines, members int, act func(s *scene)) {
	t.Helper()
	play(t, func(c *Config) {
		c.Machines, c.Members, c.MaxDown = machines, members, 1
		c.Keys = elements("e", 24, Strictly)
	}, func(s *scene) {
		s.fill()
		act(s)
		s.fill()
	})
}

// fill writes every key once.
func (s *scene) fill() {
	s.t.Helper()
	for _, k := range s.c.Keys {
		if o := s.do(s.anyUp(0).index, quorums, "set", k.Name); o.Outcome != Acknowledged {
			s.t.Errorf("%v", o)
		}
	}
}

// strikeAt kills, once a transfer is at a step, who enters by it or who leaves, and
// starts it again after a while.
func (s *scene) strikeAt(step ring.Step, to bool, down time.Duration) (struck *bool) {
	struck = new(bool)
	s.hunts = append(s.hunts, &hunt{step: step, to: to, until: time.Now().Add(time.Hour), act: func(m *machine) {
		*struck = true
		m.kill()
		s.loop.after(down, m.start)
	}})
	return struck
}

// Who enters and who leaves are killed at every step of a transfer, for a moment and
// for longer than a transfer waits for them, while a node joins and while one leaves.
func TestAKillAtEveryStep(t *testing.T) {
	frugal(t)
	for _, change := range []string{"join", "leave"} {
		for _, step := range []ring.Step{ring.Waiting, ring.Copying, ring.Switched} {
			for _, to := range []bool{true, false} {
				for _, down := range []time.Duration{100 * time.Millisecond, 30 * time.Second} {
					t.Run(fmt.Sprintf("%s %v %v %v", change, step, to, down), func(t *testing.T) {
						moving(t, 5, 4, func(s *scene) { s.killed(change, step, to, down) })
					})
				}
			}
		}
	}
}

// killed lets a machine join or leave while one is killed, and waits for the end.
func (s *scene) killed(change string, step ring.Step, to bool, down time.Duration) {
	s.t.Helper()
	struck := s.strikeAt(step, to, down)
	members := 5
	if change == "join" {
		s.machines[4].enter()
	} else {
		members = 3
		s.operate(s.machines[0], "decommission n1", plan(ring.Decommission{ID: s.machines[1].known}), nil)
	}
	s.run(time.Minute, "one to be struck", func() bool { return *struck })
	s.pass(down)
	s.quiet()
	if n := s.inside(); n != members {
		s.t.Errorf("%d machines are members, want %d", n, members)
	}
	s.together("to be whole")
}

// The node that plans is killed at one of the first changes of its disk: the plan is
// the ring's, whole, or nothing of it is.
func TestAPlannerIsKilled(t *testing.T) {
	frugal(t)
	for at := range uint64(8) {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			moving(t, 4, 4, func(s *scene) {
				s.takeDown(Strike{Fault: KillMidWrite, Length: 5 * time.Second, Draw: at}, s.machines[0])
				s.operate(s.machines[0], "decommission n1", plan(ring.Decommission{ID: s.machines[1].known}), nil)
				s.pass(20 * time.Second)
				s.quiet()
				s.together("to be whole")
			})
		})
	}
}

// Two operators plan at the same time at different nodes: one after the other, and what
// would leave too few members is refused.
func TestTwoOperatorsAtOnce(t *testing.T) {
	moving(t, 4, 4, func(s *scene) {
		var errs [2]error
		answers := 0
		for i := range errs {
			s.operate(s.machines[i], fmt.Sprintf("decommission n%d", i+2), plan(ring.Decommission{ID: s.machines[i+2].known}), func(err error) {
				errs[i] = err
				answers++
			})
		}
		s.run(time.Minute, "both answers", func() bool { return answers == 2 })
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("one is to be refused: %v, %v", errs[0], errs[1])
		}
		s.quiet()
		if s.inside() != 3 {
			t.Errorf("%d members, want 3", s.inside())
		}
	})
}

// What is paused, aborted and resumed ends as if nothing had been.
func TestAPlanIsPausedAndAborted(t *testing.T) {
	moving(t, 5, 4, func(s *scene) {
		s.changed(0, "pause", func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, true) })
		s.machines[4].enter()
		s.run(time.Minute, "the plan", func() bool { return len(s.newest.Transfers) > 0 })
		s.pass(20 * time.Second)
		for _, move := range s.newest.Transfers {
			if move.Step != ring.Waiting {
				t.Errorf("%+v began while moves were paused", move)
			}
		}
		s.changed(0, "abort", ring.Abort)
		if m := s.newest.Member(s.machines[4].known); len(s.newest.Transfers) > 0 || m == nil || m.State != ring.Joining {
			t.Errorf("after the abort: %d transfers, %+v", len(s.newest.Transfers), m)
		}
		s.quiet() // resumes, and commits
		if s.inside() != 5 {
			t.Errorf("%d members, want 5", s.inside())
		}
	})
}

// The check of rings finds what it is for.
func TestARingIsChecked(t *testing.T) {
	members := []ring.Member{{ID: 1, Name: "a", Weight: 1}, {ID: 2, Name: "b", Weight: 1}, {ID: 3, Name: "c", Weight: 1}, {ID: 4, Name: "d", Weight: 1}}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: 16, N: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckRing(r, nil); err != nil {
		t.Error(err)
	}
	one := *r
	one.Transfers = []ring.Transfer{{Partition: 3, From: 1, To: 2, Step: ring.Copying}, {Partition: 3, From: 3, To: 4, Step: ring.Switched}}
	if CheckRing(&one, nil) == nil {
		t.Error("two transfers of a partition are under way")
	}
	two := *r
	two.N = 4
	if CheckRing(&two, nil) == nil {
		t.Error("a partition has too few holders")
	}
	if err := CheckRing(&two, r); err != nil {
		t.Errorf("more were asked for, and that was given up: %v", err)
	}
	more, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: 16, N: 4})
	if err != nil {
		t.Fatal(err)
	}
	if CheckRing(&two, more) == nil {
		t.Error("a partition has lost a holder")
	}
}
