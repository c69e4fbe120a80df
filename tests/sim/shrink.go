package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Shrink makes a failing configuration smaller while bad still reports it as
// failing: fewer faults, fewer operations, fewer clients, fewer keys, a shorter
// run. It tries at most so many runs.
func Shrink(c Config, tries int, bad func(Config) bool) Config {
	s := shrinker{least: c, tries: tries, bad: bad}
	for before := -1; before != s.successes && s.tries > 0; {
		before = s.successes
		s.fewerStrikes()
		s.shorter()
		s.fewerKeys()
		s.fewerClients()
	}
	return s.least
}

type shrinker struct {
	least     Config
	tries     int
	successes int
	bad       func(Config) bool
}

// try keeps a smaller configuration if it fails too.
func (s *shrinker) try(smaller Config) bool {
	if s.tries == 0 {
		return false
	}
	s.tries--
	if !s.bad(smaller) {
		return false
	}
	s.least = smaller
	s.successes++
	return true
}

// fewerStrikes leaves out ever smaller parts of the plan.
func (s *shrinker) fewerStrikes() {
	for size := (len(s.least.Plan.Strikes) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(s.least.Plan.Strikes); {
			c := s.least
			to := min(from+size, len(c.Plan.Strikes))
			c.Plan.Strikes = slices.Delete(slices.Clone(c.Plan.Strikes), from, to)
			if !s.try(c) {
				from += size
			}
		}
		if s.tries == 0 {
			return
		}
	}
}

// shorter ends the run and the clients' work earlier.
func (s *shrinker) shorter() {
	for _, part := range []int{4, 2} { // a quarter, a half
		c := s.least
		c.Plan.Length = (c.Plan.Length / time.Duration(part)).Round(time.Second)
		if c.Plan.Length > 0 && s.try(c) {
			break
		}
	}
	for _, part := range []int{8, 4, 2} {
		c := s.least
		if c.Ops /= part; c.Ops > 0 && s.try(c) {
			break
		}
	}
}

func (s *shrinker) fewerKeys() {
	for i := 0; i < len(s.least.Keys) && len(s.least.Keys) > 1; {
		c := s.least
		c.Keys = slices.Clone(c.Keys)
		c.Keys[i].Idle = true
		if s.least.Keys[i].Idle || !s.try(c) {
			i++
		}
	}
}

func (s *shrinker) fewerClients() {
	for _, n := range []int{1, s.least.Clients / 2, s.least.Clients - 1} {
		c := s.least
		if c.Clients = n; n > 0 && n < s.least.Clients && s.try(c) {
			return
		}
	}
}

// Flags are the arguments that make FromSeed's configuration this one again.
func (c *Config) Flags() string {
	whole := FromSeed(c.Seed)
	f := fmt.Sprintf("-seeds=1 -seed=%d", c.Seed)
	if len(c.Plan.Strikes) < len(whole.Plan.Strikes) {
		f += " -strikes=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Plan.numbers()), " ", ","), "[]")
		if len(c.Plan.Strikes) == 0 {
			f += "none"
		}
	}
	if c.Plan.Length != whole.Plan.Length {
		f += fmt.Sprintf(" -length=%v", c.Plan.Length)
	}
	if c.Ops != whole.Ops {
		f += fmt.Sprintf(" -ops=%d", c.Ops)
	}
	if c.Clients != whole.Clients {
		f += fmt.Sprintf(" -clients=%d", c.Clients)
	}
	if keys := c.working(); len(keys) < len(c.Keys) {
		f += " -keys=" + strings.Join(keys, ",")
	}
	return f
}

// working returns the keys that are worked on.
func (c *Config) working() (names []string) {
	for i := range c.Keys {
		if !c.Keys[i].Idle {
			names = append(names, c.Keys[i].Name)
		}
	}
	return names
}
