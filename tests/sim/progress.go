package sim

import (
	"fmt"
	"strings"
	"time"
)

// progress is how far a run of many seeds has come.
type progress struct {
	began, told time.Time
	seeds, done int
	last        uint64 // the seed that ran last
	failed      []uint64
}

// tellEvery is the time between lines about a long run.
const tellEvery = time.Minute

// ran notes the end of a seed and returns what is to be said about it, mostly nothing.
func (p *progress) ran(seed uint64, ok bool, now time.Time) (line string) {
	p.done++
	p.last = seed
	if !ok {
		p.failed = append(p.failed, seed)
	}
	if now.Sub(p.began) < tellEvery || now.Sub(p.told) < tellEvery {
		return ""
	}
	p.told = now
	rate := float64(p.done) / now.Sub(p.began).Seconds()
	left := time.Duration(float64(p.seeds-p.done) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("sim: %d of %d seeds, up to %d; %d failed; %.1f a second, %v left", p.done, p.seeds, seed, len(p.failed), rate, left)
}

// end sums up.
func (p *progress) end(now time.Time) string {
	line := fmt.Sprintf("sim: %d seeds up to %d in %v, %d failed", p.done, p.last, now.Sub(p.began).Round(time.Second), len(p.failed))
	if len(p.failed) > 0 {
		line += ": " + strings.Trim(fmt.Sprint(p.failed), "[]")
	}
	return line
}
