package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// forming plays a scene on machines that have not been started.
func forming(t *testing.T, c Config, act func(s *scene)) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, c.Seed)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c.Ops = 0
	if *logged != "" {
		f, err := os.Create(*logged)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c.Log = f
	}
	var r *Result
	synctest.Test(t, func(t *testing.T) {
		s := &scene{newWorld(c), t}
		act(s)
		s.close()
		r = s.result(nil)
	})
	report(t, r)
}

// TestSimForming lets machines join under faults: whatever is tried and given up,
// in the end all are in one ring.
func TestSimForming(t *testing.T) {
	for seed := *fromSeed; seed < *fromSeed+uint64(*seeds)/4+1; seed++ {
		c := FromSeed(8*seed + 7)
		c.Machines, c.Members, c.Skew = 2+int(seed%5), 0, 0
		c.Faults = []Fault{Kill, Kill, KillMidTurn, Restart, Cut, Cut, Split, OneWay, Isolate}
		c.FaultEvery, c.FaultFor = 80*time.Millisecond, 300*time.Millisecond
		c.MaxDown = c.Machines
		r := rand.New(rand.NewPCG(c.Seed, 5))
		c.Plan.Strikes = nil
		c.Plan.drawStrikes(&c, r, 0, 3*time.Second)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			forming(t, c, func(s *scene) {
				for _, m := range s.machines {
					m.start()
				}
				for _, strike := range c.Plan.Strikes {
					s.loop.after(strike.At, func() { s.strike(strike) })
				}
				s.pass(3 * time.Second)
				if !s.settle() {
					return
				}
				first := s.machines[0].up().Ring()
				for _, m := range s.machines[1:] {
					if r := m.up().Ring(); r.Hash() != first.Hash() || r.ClusterID != first.ClusterID {
						s.fail("stands", "%s has another ring than n0", m.name())
					}
				}
				// Nobody is left frozen. That a write in unsettled times cannot be
				// acknowledged is another matter.
				for i := range s.machines {
					if o := s.do(i, quorums, "set", "k"); o.Outcome == Refused {
						t.Errorf("%v", o)
					}
				}
			})
		})
	}
}

func TestManyMachinesJoinAtOnce(t *testing.T) {
	c := FromSeed(8)
	c.Machines = 12
	forming(t, c, func(s *scene) {
		began := time.Now()
		if s.form() {
			t.Logf("12 machines are a ring after %v", time.Since(began))
		}
	})
}

func TestAJoinMovesPartitionsOnceThereIsData(t *testing.T) {
	c := FromSeed(8)
	c.Machines = 3
	forming(t, c, func(s *scene) {
		for _, m := range s.machines[:2] {
			m.start()
		}
		s.run(time.Minute, "two to be a ring", func() bool {
			node := s.machines[0].up()
			return node != nil && len(node.Ring().Members) == 2 && s.connected(0, 1)
		})
		s.pass(introduction)
		s.set(0, ones, Acknowledged)
		s.machines[2].start()
		s.run(time.Minute, "the partitions to move", func() bool {
			for _, m := range s.machines {
				node := m.up()
				if node == nil || node.Ring() == nil {
					return false
				}
				if r := node.Ring(); len(r.Members) != 3 || len(r.Transfers) > 0 || r.EffectiveN() != 3 {
					return false
				}
			}
			return true
		})
		s.pass(introduction)
		s.set(2, quorums, Acknowledged)
		s.machines[1].kill()
		s.machines[1].start()
		s.run(time.Minute, "the machine to return", func() bool { return s.connected(1, 2) })
		s.pass(introduction)
		s.set(1, quorums, Acknowledged)
	})
}

// TestASeedThatLeavesIsAskedAgain starts a machine whose only seed answers while
// it stops, and then comes back knowing nobody.
func TestASeedThatLeavesIsAskedAgain(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			c := FromSeed(8)
			c.Machines = 2
			forming(t, c, func(s *scene) {
				s.machines[0].start()
				s.run(time.Minute, "the first to found", func() bool { return s.machines[0].up() != nil })
				s.machines[0].stop(func() { s.loop.after(time.Second, s.machines[0].start) })
				s.pass(after)
				s.machines[1].start()
				s.run(time.Minute, "both to be a ring", s.whole)
			})
		})
	}
}
