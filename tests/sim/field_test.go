package sim

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
)

// The failures known from other systems, each as a schedule:
//
//	Dynomite  a replica that was away never gets what it missed     TestDynomitesMissedReplicaCatchesUp
//	KeyDB     active replicas stay apart; deleted keys come back    TestKeyDBsActiveReplicasConverge, TestKeyDBsDeletedKeysStayDeleted
//	Riak      counters are issued again (kv679)                     TestKV679LostState, -ReapedTombstone, -ByNodesThatHoldNothing
//	Scylla    hints refuse clients' writes; tombstones go           TestScyllasHintsRefuseNoClient,
//	          while hints are outstanding                           TestScyllasTombstonesStayWhileAHintIsOutstanding
//	all       a late hint, an old disk, a copied directory, a       TestALateHintBringsNothingBack, TestAnOldDiskBringsNothingBack,
//	          clock set back, two coordinators in a partition       TestAClonedDirectory, TestARestartWithTheClockSetBack,
//	                                                                TestTwoPartitionedWritersMakeSiblings

var sloppily = coordinator.Levels{R: coordinator.Quorum, W: coordinator.Quorum, Mode: coordinator.Sloppy}

// counting makes the key of a scene a counter.
func counting(c *Config) {
	c.Keys = []KeySpec{{Name: "n", R: majority, W: majority, Check: Counted}}
}

// kept checks a scene's key for what holds even where reads may miss something.
func kept(c *Config) { c.Keys[0].Check = Kept }

// onFive spreads three replicas over five machines.
func onFive(c *Config) { c.Machines, c.N = 5, 3 }

// others returns the machines that are no replicas of a key.
func (s *scene) others(key string) (list []int) {
	for m := range s.machines {
		if !slices.Contains(s.roles(key), m) {
			list = append(list, m)
		}
	}
	return list
}

// incr increments the counter and expects its value.
func (s *scene) incr(m int, want string) {
	s.t.Helper()
	if o := s.do(m, quorums, "incr", "n"); o.Outcome != Acknowledged || o.Reply.Text != want {
		s.t.Errorf("%v, want %s", o, want)
	}
}

// del deletes the scene's key.
func (s *scene) del(m int, levels coordinator.Levels) {
	s.t.Helper()
	if o := s.do(m, levels, "del", "k"); o.Outcome != Acknowledged || o.Reply.Text != "1" {
		s.t.Errorf("%v, want 1", o)
	}
}

// forget waits until a deleted key's tombstone is on no disk any more.
func (s *scene) forget(key string, except ...int) {
	s.t.Helper()
	holds := true
	for end := time.Now().Add(s.c.Delay + 3*s.c.Period); holds && time.Now().Before(end); {
		s.pass(5 * time.Second)
		s.look()
		holds = false
		for m, objects := range s.sighted.encoded {
			holds = holds || objects[key] != nil && !slices.Contains(except, m)
		}
	}
	if holds {
		s.t.Errorf("the tombstone of %s is not collected", key)
	}
}

// away takes a machine's process for a while in which act happens.
func (s *scene) away(m int, act func()) {
	s.machines[m].kill()
	s.pass(4 * time.Second)
	act()
	s.machines[m].start()
	s.together("to be whole")
}

// TestKV679LostState: a node that coordinated increments loses what it had stored,
// and goes on incrementing. Its new increments must not stand for the old ones.
func TestKV679LostState(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(m *machine)
	}{
		{"emptied", func(m *machine) { m.empty() }},
		{"the power fails", func(m *machine) { m.disk.Crash(m.rand) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, counting, func(s *scene) {
				order := s.roles("n")
				s.incr(order[0], "1")
				s.incr(order[0], "2")
				s.incr(order[0], "3")
				m := s.machines[order[0]]
				m.disk.Kill()
				c.lose(m)
				m.behind = true
				m.lostPower()
				m.start()
				s.together("to be whole")
				s.incr(order[0], "4")
				s.incr(order[1], "5")
				s.incr(order[0], "6")
			})
		})
	}
}

// TestKV679ReapedTombstone: a key is counted, deleted, its tombstone collected, and
// counted again by the same node, while a replica that was away still holds the
// first count. The new count must not be taken for older than that.
func TestKV679ReapedTombstone(t *testing.T) {
	play(t, func(c *Config) { counting(c); kept(c) }, func(s *scene) {
		order := s.roles("n")
		for _, want := range []string{"1", "2", "3", "4", "5"} {
			s.incr(order[0], want)
		}
		if o := s.do(order[0], quorums, "del", "n"); o.Outcome != Acknowledged {
			t.Errorf("%v", o)
		}
		s.forget("n")
		s.away(order[2], func() { s.incr(order[0], "1") })
		s.incr(order[0], "2")
		s.incr(order[2], "3")
	})
}

// TestKV679ByNodesThatHoldNothing: clients count through machines that are no
// replicas, and through stand-ins.
func TestKV679ByNodesThatHoldNothing(t *testing.T) {
	play(t, func(c *Config) { onFive(c); counting(c) }, func(s *scene) {
		others, order := s.others("n"), s.roles("n")
		s.incr(others[0], "1")
		s.incr(others[1], "2")
		for _, m := range order[:2] {
			s.machines[m].kill()
		}
		s.pass(4 * time.Second)
		for range 3 {
			if o := s.do(others[0], sloppily, "incr", "n"); o.Outcome != Acknowledged {
				t.Errorf("%v", o)
			}
		}
		for _, m := range order[:2] {
			s.machines[m].start()
		}
		s.together("to be whole")
		s.handedOff()
		s.incr(others[1], "6")
	})
}

// TestALateHintBringsNothingBack: a stand-in keeps a hint of a value, and is cut off
// before it can deliver it. Meanwhile the key is deleted. A tombstone is not
// collected while the hint is outstanding, and the late hint changes nothing.
func TestALateHintBringsNothingBack(t *testing.T) {
	play(t, func(c *Config) { onFive(c); kept(c) }, func(s *scene) {
		order, others := s.roles("k"), s.others("k")
		s.machines[order[2]].kill()
		s.pass(4 * time.Second)
		s.set(order[0], sloppily, Acknowledged) // by the other two, before the stand-in may have it
		s.run(time.Second, "somebody to stand in", func() bool { return slices.ContainsFunc(others, s.owes) })
		for _, m := range others {
			if s.owes(m) {
				s.apart(m)
			}
		}
		s.machines[order[2]].start()
		s.pass(20 * time.Second)
		s.del(order[0], quorums)
		s.pass(s.c.Delay + 3*s.c.Period)
		s.heal()
		s.handedOff()
		for m := range s.machines {
			s.get(m, quorums, "")
		}
		s.forget("k")
		for m := range s.machines {
			s.get(m, quorums, "")
		}
	})
}

// owes reports whether a machine keeps hints.
func (s *scene) owes(m int) bool {
	return slices.ContainsFunc(s.machines[m].up().Hints(), func(h hint.Stat) bool { return h.Count > 0 })
}

// TestScyllasTombstonesStayWhileAHintIsOutstanding: the replica that missed the deletion
// is owed a hint, so the others keep its tombstone.
func TestScyllasTombstonesStayWhileAHintIsOutstanding(t *testing.T) {
	play(t, kept, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		s.pass(time.Second)
		s.away(order[2], func() {
			s.del(order[0], quorums)
			s.pass(s.c.Delay + 3*s.c.Period)
			s.look()
			for _, m := range order[:2] {
				if s.sighted.encoded[m]["k"] == nil {
					t.Errorf("n%d has forgotten the deletion", m)
				}
			}
		})
		s.handedOff()
		s.get(order[2], ones, "")
		s.forget("k")
		s.get(order[2], quorums, "")
	})
}

// TestAnOldDiskBringsNothingBack: a replica's disk is replaced by an image from
// before a deletion that the others have forgotten.
func TestAnOldDiskBringsNothingBack(t *testing.T) {
	play(t, kept, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		s.pass(5 * time.Second)
		m := s.machines[order[2]]
		image := m.disk.Clone()
		s.del(order[0], quorums)
		s.forget("k")
		m.disk.Kill()
		m.behind = true
		m.lostPower()
		m.disk = image
		m.start()
		s.together("to be whole")
		s.pass(2 * s.c.Period)
		for i := range s.machines {
			s.get(i, quorums, "")
		}
	})
}

// TestDynomitesMissedReplicaCatchesUp: as in Dynomite it did not. Nobody reads.
func TestDynomitesMissedReplicaCatchesUp(t *testing.T) {
	play(t, kept, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		var latest string
		s.away(order[2], func() { latest = s.set(order[0], quorums, Acknowledged) })
		s.handedOff()
		s.get(order[2], ones, latest)
	})
}

// TestKeyDBsActiveReplicasConverge: as KeyDB's did not. Both sides of a partition write,
// count and delete, and nobody reads afterwards: the replicas end with equal bytes.
func TestKeyDBsActiveReplicasConverge(t *testing.T) {
	play(t, func(c *Config) {
		c.Keys = []KeySpec{{Name: "k", R: majority, W: majority, Check: Kept}, {Name: "n", R: majority, W: majority, Check: Kept}}
	}, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		s.apart(order[0])
		for range 5 {
			for _, m := range order[:2] {
				s.set(m, ones, Acknowledged)
			}
			if o := s.do(order[1], quorums, "incr", "n"); o.Outcome != Acknowledged {
				t.Errorf("%v", o)
			}
		}
		s.del(order[1], quorums)
		s.set(order[2], ones, Acknowledged)
		s.heal()
		s.pass(2 * s.c.Period)
		s.look()
		for _, key := range []string{"k", "n"} {
			for m := range s.machines {
				if held := s.sighted.encoded[m][key]; len(held) == 0 || !bytes.Equal(held, s.sighted.encoded[0][key]) {
					t.Errorf("n%d holds %x of %s, n0 %x", m, held, key, s.sighted.encoded[0][key])
				}
			}
		}
	})
}

// TestKeyDBsDeletedKeysStayDeleted: as KeyDB's active replicas brought them back. Two
// sides of a partition write and delete keys of which the other one still has the
// old values.
func TestKeyDBsDeletedKeysStayDeleted(t *testing.T) {
	play(t, kept, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		s.pass(time.Second)
		s.apart(order[2])
		s.del(order[0], quorums)
		s.heal()
		s.pass(20 * time.Second)
		for m := range s.machines {
			s.get(m, quorums, "")
			s.get(m, ones, "")
		}
	})
}

// TestScyllasHintsRefuseNoClient: as Scylla's did. The space for hints is full, and writes
// go on.
func TestScyllasHintsRefuseNoClient(t *testing.T) {
	play(t, func(c *Config) { kept(c); c.HintBytes = 1 }, func(s *scene) {
		order := s.roles("k")
		s.away(order[2], func() {
			for range 20 {
				s.set(order[0], quorums, Acknowledged)
				s.set(order[1], sloppily, Acknowledged)
			}
		})
		if s.machines[order[0]].dropped() == 0 {
			t.Error("no hint was dropped, or none is counted")
		}
	})
}

// TestAClonedDirectory: a machine's directory is copied, and the copy started in its
// place after more was written: its dots are never issued twice.
func TestAClonedDirectory(t *testing.T) {
	play(t, counting, func(s *scene) {
		order := s.roles("n")
		s.incr(order[0], "1")
		m := s.machines[order[0]]
		stopped := false
		m.stop(func() { stopped = true })
		s.run(time.Minute, "the machine to stop", func() bool { return stopped })
		clone := m.disk.Clone() // of a clean end, in the same boot
		m.start()
		s.together("to be whole")
		s.incr(order[0], "2")
		s.incr(order[0], "3")
		m.kill()
		m.disk, m.behind = clone, true
		m.start()
		s.together("to be whole")
		s.incr(order[0], "4")
		s.incr(order[1], "5")
		s.incr(order[0], "6")
	})
}

// TestARestartWithTheClockSetBack: the node does not start while its clock is before
// what it has issued, and issues nothing twice when it is right again.
func TestARestartWithTheClockSetBack(t *testing.T) {
	play(t, counting, func(s *scene) {
		order := s.roles("n")
		s.incr(order[0], "1")
		m := s.machines[order[0]]
		m.kill()
		m.setClock(-5 * time.Minute)
		m.start()
		s.pass(30 * time.Second)
		s.incr(order[1], "2")
		m.setClock(0)
		s.together("to be whole")
		s.incr(order[0], "3")
	})
}

// TestDamageKeepsNobodyFromStarting: all tables of a replica are damaged, where that
// costs most, and with them what the node keeps there for itself. It starts, and is
// filled from the others.
func TestDamageKeepsNobodyFromStarting(t *testing.T) {
	play(t, kept, func(s *scene) {
		order := s.roles("k")
		latest := s.set(order[0], quorums, Acknowledged)
		m := s.machines[order[0]]
		m.kill()
		m.start() // what was in the log goes to tables
		s.together("to be whole")
		m.kill()
		names, err := m.disk.List(directory)
		damaged := 0
		for _, name := range names {
			name = filepath.Join(directory, name)
			if info, err := m.disk.Stat(name); err == nil && filepath.Ext(name) == ".sst" {
				damaged++
				if err := m.disk.Flip(name, info.Size-20, 3); err != nil {
					t.Error(err)
				}
			}
		}
		if err != nil || damaged == 0 {
			t.Fatalf("%d tables, %v", damaged, err)
		}
		m.behind = true
		m.start()
		s.together("to be whole")
		s.get(order[1], quorums, latest)
		s.pass(2 * s.c.Period)
		s.get(order[0], ones, latest)
	})
}
