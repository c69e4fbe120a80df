package sim

import (
	"fmt"
	"slices"
	"testing"

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
			a = s.vset(i%3, quorums, a, fmt.Sprint("a", i))
			b = s.vset((i+1)%3, quorums, b, fmt.Sprint("b", i))
			s.shows(fmt.Sprint("round ", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		s.ask(2, quorums, "vclock|del", "k", "vclock", "del", "k", a)
		s.shows("after a's deletion", "b5")
		s.set(0, quorums, Acknowledged) // covers what its machine holds
	})
}
