package transfer

import (
	"testing"
	"time"

	"kvstore/cluster/ring"
)

// What is copied and waits for its last steps counts as done, and the time that is left is by
// those that copy, or copied last, whatever step the others are at.
func TestProgress(t *testing.T) {
	members := []ring.Member{{ID: 1, Name: "n1", Weight: 1}, {ID: 2, Name: "n2", Weight: 1}}
	r, _, err := ring.Build(nil, members[:1], ring.Options{ClusterID: 1, ClusterName: "c", Partitions: 8, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = ring.Join(r, members[1], true); err != nil || len(r.Transfers) != 4 {
		t.Fatal(len(r.Transfers), err)
	}
	ps := func(r *ring.Ring) (ps []ring.Partition) {
		for _, q := range r.Queue(2) {
			ps = append(ps, q.Partition)
		}
		return ps
	}(r)
	if r, err = ring.Begin(r, 2, ps[:2]); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Self: 2, Ring: func() *ring.Ring { return r }})
	moveOf := func(p ring.Partition) *move {
		tr, _ := r.TransferOf(p)
		m := &move{size: Size{Keys: 10, Bytes: 1000}, began: time.Now()}
		d.moves[task{tr, kindOf(r, tr)}] = m
		return m
	}
	first, second := moveOf(ps[0]), moveOf(ps[1])
	first.bytes, second.bytes = 500, 0
	d.rate = rate{at: time.Now(), last: 100}
	p := d.Progress()
	if p.Copied != 0 || p.Bytes != 500 || p.AllBytes != 2000 || p.Left != 35*time.Second {
		t.Errorf("both copy: %+v", p)
	}
	first.ready, first.bytes = true, 1000
	if p = d.Progress(); p.Copied != 1 || p.Bytes != 0 || p.AllBytes != 1000 || p.Left != 30*time.Second {
		t.Errorf("one is copied: %+v", p)
	}
	second.ready, second.bytes = true, 1000
	if p = d.Progress(); p.Copied != 2 || p.AllBytes != 0 || p.Left != 20*time.Second {
		t.Errorf("both are copied, and two wait: %+v", p)
	}
	// It is begun again after its driver was, and has most of it already.
	delete(d.moves, task{ring.Transfer{Partition: ps[0], From: 1, To: 2, Step: ring.Copying}, exchange})
	again := moveOf(ps[0])
	again.bytes = 1500 // more than anybody knew of
	if p = d.Progress(); p.Copied != 1 || p.Bytes != 1500 || p.AllBytes != 1500 || p.Left < 0 {
		t.Errorf("one copies again: %+v", p)
	}
}
