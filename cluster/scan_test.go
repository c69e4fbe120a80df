package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// put stores an object of one value, or whatever bytes are given, at one node.
func (n *Node) put(t *testing.T, db uint8, name string, record []byte) {
	t.Helper()
	if record == nil {
		at, err := n.clock.Now()
		if err != nil {
			t.Fatal(err)
		}
		var o version.Object
		if _, err := o.Update(version.Dot{Node: 1, Time: at}, nil, version.Sibling{Kind: version.String, Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		record = o.Append(nil)
	}
	if _, err := n.db.Set(key.AppendUser(nil, uint64(ring.TokenOf(db, []byte(name))), db, []byte(name)), record); err != nil {
		t.Fatal(err)
	}
}

// A scan asks another replica in place of one that fails.
func TestAScanGoesOnWithoutADamagedReplica(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	n.put(t, 0, "k", []byte{0xff})
	m.put(t, 0, "k", nil)
	keys := map[string]bool{}
	q := ScanQuery{Slot: -1, Count: 10, Levels: coordinator.Levels{R: coordinator.One}}
	for {
		page, err := n.Scan(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			keys[string(k)] = true
		}
		if q.Cursor = page.Cursor; q.Cursor == 0 {
			break
		}
	}
	if len(keys) != 1 || !keys["k"] {
		t.Errorf("found %v", keys)
	}
	q = ScanQuery{Slot: -1, Count: 10, Levels: coordinator.Levels{R: coordinator.All}}
	if _, err := n.Scan(t.Context(), q); err == nil {
		t.Error("all replicas are asked for, and one is damaged")
	}
}

// However many keys of other databases there are, a scan ends with its time.
func TestAScanEndsWithItsTime(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	for i := range checkEvery {
		n.put(t, 1, fmt.Sprint(i), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := scanBody{0, 0, ring.TokenEnd, 10}.append(nil)
	if _, err := n.serveScan(ctx, body); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := n.serveScan(ctx, body); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}
