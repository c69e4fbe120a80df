package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChaosGrowing has nodes join and leave, and be replaced, while each of those who
// have to do with it is killed in every step.
func TestChaosGrowing(t *testing.T) {
	takes, by, kills, keys := *duration/4, 3, 2, stock
	if takes < bigRound {
		by, kills, keys = 1, 1, stock/10
	}
	tr := newTrial(t, everybody(), takes)
	tr.found(3, slowly()...)
	tr.load(keys)
	g := &growth{world: tr.w, random: tr.random, named: 3, counts: map[strike]int{}}
	begun, rounds := time.Now(), 0
	tr.use(func() {
		for anotherRound(begun, rounds, takes) {
			err := g.round(by, kills)
			if err == nil && takes >= bigRound {
				err = g.replace()
			}
			if err != nil {
				tr.w.problem(err)
				return
			}
			rounds++
		}
	})
	took := time.Since(begun)
	tr.judge()
	var text []string
	for s, n := range g.counts {
		if n > 0 {
			text = append(text, fmt.Sprintf("%v %d", s, n))
		}
	}
	slices.Sort(text)
	t.Logf("%d rounds in %.0f s: %d nodes came or went one by one, %d were lost and replaced", rounds, took.Seconds(), g.changes, g.lost)
	t.Logf("kill -9 of: %s; and %d after their stage was over", strings.Join(text, ", "), g.late)
	tr.report()
}

// bigRound is how much time is asked for at least where a round is of three nodes, and
// one that is lost: it takes about a minute.
const bigRound = 20 * time.Second

// stock is how many keys there are from the beginning.
const stock = 6000
