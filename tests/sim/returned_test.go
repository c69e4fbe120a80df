package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
)

// vset writes with a context and returns the one that the write replied.
func (s *scene) vset(m int, levels coordinator.Levels, context, value string) string {
	s.t.Helper()
	return s.ask(m, levels, "vclock|set", "k", "vclock", "set", "k", context, value).String()
}

// shows expects these siblings, in whatever order.
func (s *scene) shows(when string, want ...string) {
	s.t.Helper()
	_, values := s.siblings(0)
	slices.Sort(values)
	if slices.Sort(want); !slices.Equal(values, want) {
		s.t.Errorf("%s: siblings %q, want %q", when, values, want)
	}
}

// Clients that never read and go on with what their writes returned replace
// their own values alone, by whichever machine they write.
func TestClientsGoOnWithWhatTheirWritesReturned(t *testing.T) {
	play(t, func(c *Config) { c.Keys[0].Check = Kept }, func(s *scene) {
		var a, b string
		for i := range 6 {
			a = s.vset(i%3, quorums, a, fmt.Sprint("a", i, "'"))
			a = s.vset(i%3, quorums, a, fmt.Sprint("a", i))
			if i > 0 { // a has not seen b's, which was there at both
				s.shows(fmt.Sprint("a's round ", i), fmt.Sprint("a", i), fmt.Sprint("b", i-1))
			}
			b = s.vset((i+1)%3, quorums, b, fmt.Sprint("b", i))
			s.shows(fmt.Sprint("round ", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		s.ask(2, quorums, "vclock|del", "k", "vclock", "del", "k", a)
		s.shows("after a's deletion", "b5")
		s.set(0, quorums, Acknowledged) // covers what its machine holds
	})
}

// A write on one side of a partition replaces, by its context, one of the other
// side; what else was written there is still shown when they meet.
func TestAContextThatCrossesAPartition(t *testing.T) {
	play(t, func(c *Config) { c.Keys[0].Check = Kept }, func(s *scene) {
		order := s.roles("k")
		old := s.vset(order[0], quorums, "", "old")
		s.run(10*time.Minute, "to be settled", func() bool { return s.machines[order[0]].up().Unsettled() == 0 })
		s.split(1<<uint(order[0]), time.Hour) // which nobody has noticed yet
		s.vset(order[0], ones, old, "unseen")
		mine := s.vset(order[0], ones, old, "first")
		s.pass(4 * time.Second)
		mine = s.vset(order[1], quorums, mine, "second")
		s.vset(order[1], quorums, mine, "third")
		s.heal()
		s.shows("after the partition", "unseen", "third")
		s.set(order[2], quorums, Acknowledged)
	})
}
