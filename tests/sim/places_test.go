package sim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kvstore/cluster"
)

// A machine gets an empty disk, and its node its place back, with what was written.
// The disk that was there before is refused when it returns, whether its node sees
// that at once or has answered for a while, apart from the others.
func TestAnOldDiskHasNoPlace(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprint("apart ", apart), func(t *testing.T) {
			play(t, nil, func(s *scene) {
				m := s.machines[1]
				s.set(0, quorums, Acknowledged)
				s.pass(time.Second)
				s.replace(Strike{Machine: 1, Length: time.Second}, m)
				before := m.process
				s.run(5*time.Minute, "the place to be taken again", func() bool { return m.process != before && s.whole() })
				if m.process.life != 3 || m.up().Self().ID != m.known {
					t.Errorf("it is %v in life %d, its place is that of %v", m.up().Self().ID, m.process.life, m.known)
				}
				s.run(5*time.Minute, "it to be filled", func() bool { return s.look() && s.level() })
				newest := s.set(0, quorums, Acknowledged)
				s.pass(time.Second)
				if apart {
					s.net.Block(1, 0)
					s.net.Block(1, 2)
				}
				s.comeBack(m)
				s.run(time.Minute, "the old disk to be open", func() bool { return m.process != nil && m.process.life == 4 && m.up() != nil })
				old := m.process
				if apart {
					s.pass(time.Minute)
					s.set(1, quorums, Refused)
					s.net.Unblock(1, 0)
					s.net.Unblock(1, 2)
				}
				s.run(time.Minute, "the old disk to be refused", func() bool { return old.refusal != nil && s.whole() })
				if !errors.Is(old.refusal, cluster.ErrPlaceTaken) {
					t.Errorf("refused with %v", old.refusal)
				}
				s.pass(introduction)
				s.get(1, quorums, newest)
			})
		})
	}
}

// A log or a manifest with a flipped bit is repaired by what the error names, and the
// others make up for what it cost, wherever the bit is.
func TestRottenFilesAreRepaired(t *testing.T) {
	for _, fault := range []Fault{RotLog, RotManifest} {
		for draw := range uint64(12) {
			t.Run(fmt.Sprint(fault, " ", draw), func(t *testing.T) {
				play(t, nil, func(s *scene) {
					var last string
					for range 5 {
						last = s.set(0, quorums, Acknowledged)
					}
					s.pass(time.Second)
					// Any bit of the file may flip.
					s.rotUnread(Strike{Fault: fault, Machine: 1, Length: time.Second, Draw: draw * 0x9e3779b97f4a7c15}, s.machines[1])
					s.pass(2 * time.Second)
					s.run(time.Minute, "the machine to return", s.whole)
					s.pass(introduction)
					s.get(1, quorums, last)
					if s.machines[1].lives < 2 {
						t.Error("nothing happened")
					}
				})
			})
		}
	}
}

// An image of a disk is as rotten as the disk was, though that was repaired since.
func TestAnImageOfARottenDisk(t *testing.T) {
	play(t, nil, func(s *scene) {
		m := s.machines[1]
		last := s.set(0, quorums, Acknowledged)
		s.pass(time.Second)
		// A bit of the summed-up state, with which a manifest begins.
		s.rotUnread(Strike{Fault: RotManifest, Machine: 1, Length: 5 * time.Second, Draw: 100<<8 | 1}, m)
		s.restore(Strike{Machine: 1, Length: 2 * time.Minute}, m)
		s.run(time.Minute, "the disk to be repaired", s.whole)
		if s.pass(time.Minute); !s.look() || !s.level() {
			t.Errorf("what was lost is not made good: %s", s.differing)
		}
		lives := m.lives
		s.pass(2 * time.Minute)
		s.run(time.Minute, "the image to be repaired", s.whole)
		s.pass(introduction)
		s.get(1, quorums, last)
		if m.lives != lives+2 {
			t.Errorf("it began %d times, want a start that finds the damage and another", m.lives-lives)
		}
	})
}

// A node whose place is held by a member until that has seen its former life die waits
// for it as long as it says so, and does not count the time in which it was away.
func TestWhoHoldsAPlaceIsAway(t *testing.T) {
	play(t, nil, func(s *scene) {
		m := s.machines[2]
		s.set(0, quorums, Acknowledged)
		before := m.copied()
		m.disk.Kill()
		m.lostPower()
		m.behind = true
		m.insert(before)
		m.start()
		s.run(time.Minute, "it to be kept out", func() bool { return s.net.keptOut[[2]int{2, 1}] > 0 })
		s.machines[1].kill()
		s.split(1<<2, time.Hour) // or the other one would let it in
		s.pass(heldFor)
		s.machines[1].start()
		s.net.Unblock(1, 2)
		s.net.Unblock(2, 1)
		s.pass(introduction)
		s.heal()
	})
}

// heldFor is how long a node lets itself be kept out of its place; see package cluster.
const heldFor = 20 * time.Second
