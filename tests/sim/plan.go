package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is all that befalls a run, written down before it begins: when clients
// work, and which fault strikes whom. What is written down can be shortened.
type Plan struct {
	// Length is the time from the first operation to the end of all faults.
	Length time.Duration
	// Rounds are the times at which clients begin to work; in each they do
	// PerRound operations, and are quiet until the next.
	Rounds   []time.Duration
	PerRound int
	Strikes  []Strike
}

// Strike is a fault at its time.
type Strike struct {
	Number  int // its place in the plan as the seed drew it
	At      time.Duration
	Fault   Fault
	Machine int
	Draw    uint64 // decides what else there is to decide
	Length  time.Duration
}

func (s Strike) String() string {
	return fmt.Sprintf("%d: after %v %v of n%d, for %v", s.Number, s.At.Round(time.Millisecond), s.Fault, s.Machine, s.Length.Round(time.Millisecond))
}

const (
	// shortest is the length of the shortest run.
	shortest = 10 * time.Minute
	// calmBefore is how much earlier than a round its faults may strike.
	calmBefore = 2 * time.Second
)

// drawPlan makes the plan of a configuration: rounds far from each other, faults
// that come and go during each, and now and then one that lasts for minutes.
func drawPlan(c *Config, r *rand.Rand) Plan {
	rounds := 4 + r.IntN(5)
	p := Plan{Length: shortest + time.Duration(r.Int64N(int64(5*time.Minute))), PerRound: (c.Ops + rounds - 1) / rounds}
	each := p.Length / time.Duration(rounds)
	busy := time.Duration(p.PerRound)*c.Think/time.Duration(max(c.Clients, 1)) + 2*calmBefore
	for i := range rounds {
		p.Rounds = append(p.Rounds, time.Duration(i)*each+calmBefore+time.Duration(r.Int64N(int64(each/4))))
	}
	for i, at := range p.Rounds {
		p.drawStrikes(c, r, at-calmBefore, busy)
		if i > 0 && len(c.Faults) > 0 && r.IntN(3) == 0 {
			// Long enough to miss a whole round and more.
			p.add(c, r, at-calmBefore-time.Duration(r.Int64N(int64(each/2))), 20*time.Second+time.Duration(r.Int64N(int64(each))))
		}
	}
	for _, f := range c.Rare {
		s := p.add(c, r, time.Duration(r.Int64N(int64(p.Length*3/4))), 10*time.Second+time.Duration(r.Int64N(int64(2*time.Minute))))
		s.Fault = f
	}
	p.number()
	return p
}

// number brings the strikes into their order.
func (p *Plan) number() {
	slices.SortStableFunc(p.Strikes, func(a, b Strike) int { return int(a.At - b.At) })
	for i := range p.Strikes {
		p.Strikes[i].Number = i
	}
}

// drawStrikes lets faults follow each other for a while.
func (p *Plan) drawStrikes(c *Config, r *rand.Rand, from, during time.Duration) {
	if len(c.Faults) == 0 || c.FaultEvery == 0 {
		return
	}
	gap := func() time.Duration { return time.Duration(r.ExpFloat64() * float64(c.FaultEvery)) }
	for at := from + gap(); at < from+during; at += gap() {
		p.add(c, r, at, time.Duration((0.1+r.ExpFloat64())*float64(c.FaultFor)))
	}
}

// add draws a strike.
func (p *Plan) add(c *Config, r *rand.Rand, at, length time.Duration) *Strike {
	s := Strike{At: max(0, at), Machine: r.IntN(c.Machines), Draw: r.Uint64(), Length: length}
	if len(c.Faults) > 0 {
		s.Fault = c.Faults[r.IntN(len(c.Faults))]
	}
	p.Strikes = append(p.Strikes, s)
	return &p.Strikes[len(p.Strikes)-1]
}

// keep returns the plan with only some of its strikes, by their numbers.
func (p Plan) keep(numbers []int) Plan {
	p.Strikes = slices.DeleteFunc(slices.Clone(p.Strikes), func(s Strike) bool { return !slices.Contains(numbers, s.Number) })
	return p
}

// numbers returns those of its strikes.
func (p Plan) numbers() (all []int) {
	for _, s := range p.Strikes {
		all = append(all, s.Number)
	}
	return all
}
