package cluster

import (
	"encoding/binary"
	"testing"
	"time"

	"kvstore/cluster/membership"
)

func TestALateRoundIsNoticed(t *testing.T) {
	var l load
	now := time.Unix(1000, 0)
	for i, c := range []struct {
		passed   time.Duration
		requests uint64
		late     time.Duration // of this round
		shown    time.Duration
		rate     float64
	}{
		{0, 100, 0, 0, 0},
		{watchEvery, 600, 0, 0, 2000},
		{watchEvery + 400*time.Millisecond, 600, 400 * time.Millisecond, 400 * time.Millisecond, 0},
		{watchEvery, 850, 0, 200 * time.Millisecond, 1000},
		{watchEvery - time.Millisecond, 850, 0, 100 * time.Millisecond, 0},
	} {
		now = now.Add(c.passed)
		late := l.note(now, c.requests, watchEvery)
		if got := l.now(); late != c.late || got.Late != c.shown || got.Requests != c.rate {
			t.Errorf("round %d: late %v, shown %+v", i, late, got)
		}
	}
}

// A node that says it is strained is suspect for a while, and takes part again.
func TestAStrainedNodeStepsBack(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	soon(t, "it to be alive", func() bool { return n.State(m.id.Node) == membership.Alive.String() })
	if err := n.serveStrained(binary.BigEndian.AppendUint64(nil, uint64(m.id.Node))); err != nil {
		t.Fatal(err)
	}
	if s := n.State(m.id.Node); s != membership.Suspect.String() {
		t.Errorf("it is %s", s)
	}
	soon(t, "it to be alive again", func() bool { return n.State(m.id.Node) == membership.Alive.String() })
	if err := n.serveStrained([]byte{1}); err == nil {
		t.Error("a malformed body is taken")
	}
}
