package chaos

import (
	"context"
	"testing"
	"time"

	"kvstore/tests/lab"
)

// dwellers are the clients of one data centre: each uses its nodes only.
func dwellers(dc string, serves func() []door) []role {
	local := []string{"r", "local_quorum", "w", "local_quorum"}
	each := []string{"r", "each_quorum", "w", "each_quorum", "strict"}
	strict := append(local, "strict")
	crew := []role{
		{name: dc + " registers", count: 3, levels: strict, work: useRegisters("register:" + dc)},
		{name: dc + " sets", count: 1, levels: local, work: useSets},
		{name: dc + " owners", count: 1, levels: local, work: func() func(*client) { return useOwned }},
		{name: dc + " counters", count: 1, levels: local, work: func() func(*client) { return useCounters }},
		{name: dc + " local writer", count: 1, levels: strict, work: useWritten("local", dc)},
		{name: dc + " each writer", count: 1, levels: each, work: useWritten("each", dc)},
	}
	for _, of := range []string{"east", "west"} {
		crew = append(crew, role{name: dc + " local reader", count: 1, levels: strict, work: useRead("each", of)},
			role{name: dc + " each reader", count: 1, levels: each, work: useRead("local", of)})
	}
	for i := range crew {
		crew[i].serves = serves
	}
	return crew
}

// TestChaosCentres loses one of two data centres: first the link between them, then all
// nodes of one.
func TestChaosCentres(t *testing.T) {
	takes := *duration / 4
	tr := newTrial(t, nil, takes)
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	c, err := foundCentres(ctx, tr.w)
	if err != nil {
		t.Fatal(err)
	}
	tr.crew = append(dwellers("east", func() []door { return doorsOf(c.east) }), dwellers("west", func() []door { return doorsOf(c.west) })...)
	const writes, size = 100, 16 << 10
	m, err := c.measure(writes, size)
	if err != nil {
		t.Fatal(err)
	}
	each := func(bytes int64) float64 { return float64(bytes) / float64(m.writes*m.size) }
	t.Logf("%d writes of %d bytes to %d replicas in each data centre sent %.2f times their size over the link, and %.2f times back; %d objects were passed on behind it, %d sent over it besides",
		m.writes, m.size, perCentre, each(m.there), each(m.back), m.passed, m.direct)
	if most := 1.6; m.direct == 0 && (each(m.there) > most || each(m.back) > most) {
		t.Errorf("a value crosses the link more than once")
	}
	away := min(longLoss, max(takes/8, shortFault))
	ways := []func(time.Duration) error{c.cut, c.lose}
	if takes < bigRound {
		i := tr.random.IntN(len(ways))
		ways = ways[i : i+1]
	}
	begun, rounds := time.Now(), 0
	tr.use(func() {
		for anotherRound(begun, rounds, takes) {
			for _, lose := range ways {
				time.Sleep(away / 2)
				if err := lose(away); err != nil {
					tr.w.problem(err)
					return
				}
			}
			rounds++
		}
	})
	took := time.Since(begun)
	tr.judge()
	text, err := c.repair()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d rounds in %.0f s: the link was cut %d times, the west killed whole %d times; kvstore repair: %s", rounds, took.Seconds(), c.cuts, c.losses, text)
	tr.report()
	for _, client := range tr.clients {
		if client.levels[1] == "local_quorum" && centreOf(&client.history[0]) == "e" && client.gap > noGap {
			t.Errorf("a client in the east was not served for %v, at %v", client.gap, client.gapAt)
		}
	}
}

const (
	// longLoss is how long a data centre is away at most, beside the time until the other notices.
	longLoss = 8 * time.Second
	// noGap is what even a machine that is very busy does not take to go on without the other data centre.
	noGap = 20 * time.Second
)
