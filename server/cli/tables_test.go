package cli

import (
	"strings"
	"testing"
	"time"

	"kvstore/server/admin"
)

func TestWriteStatus(t *testing.T) {
	now := time.Unix(1000, 0)
	list := admin.NodeList{Cluster: "kvstore", ClusterID: "c1", Self: "a", Epoch: 3, Partitions: 256, Reason: "joining", Nodes: []admin.Node{
		{ID: "a", Name: "n1", Address: "127.0.0.1:7001", State: "alive", DC: "dc1", Rack: "r1", Replicas: 256, Primaries: 85},
		{ID: "b", Name: "n2", Address: "127.0.0.1:7002", State: "dead", DC: "dc1", Rack: "r2", Replicas: 128, Primaries: 0, Heartbeat: now.Add(-90 * time.Second)},
		{ID: "c", Name: "n3", Address: "127.0.0.1:7003", State: "alive", DC: "dc1", Rack: "r3", Heartbeat: now.Add(-1500 * time.Millisecond)},
		{ID: "d", Name: "n4", Address: "127.0.0.1:7004", State: "dead", DC: "dc1", Rack: "r4"},
	}}
	var b strings.Builder
	if err := writeStatus(&b, list, now); err != nil {
		t.Fatal(err)
	}
	want := `cluster kvstore (c1), ring epoch 3, 256 partitions, not ready: joining

NAME  ADDRESS         STATE  HEARTBEAT  PARTITIONS  PRIMARY   DC   RACK  ID
n1*   127.0.0.1:7001  alive  now        256 (100%)  85 (33%)  dc1  r1    a
n2    127.0.0.1:7002  dead   1m ago     128 (50%)   0 (0%)    dc1  r2    b
n3    127.0.0.1:7003  alive  1.5s ago   0 (0%)      0 (0%)    dc1  r3    c
n4    127.0.0.1:7004  dead   never      0 (0%)      0 (0%)    dc1  r4    d

* the node that was asked
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestWriteRing(t *testing.T) {
	ring := admin.Ring{ClusterID: "c1", Epoch: 2, Slots: 16384,
		Members: []admin.Node{{ID: "a", Name: "n1", Address: "h:1", DC: "dc1", Rack: "r1", Weight: 1}, {ID: "b", Name: "n2", Address: "h:2", DC: "dc1", Rack: "r2", Weight: 0.5}},
		Partitions: []admin.Partition{
			{Partition: 0, FirstSlot: 0, LastSlot: 8191, Replicas: []string{"a", "b"}},
			{Partition: 1, FirstSlot: 8192, LastSlot: 16383, Replicas: []string{"a", "gone"}},
		}}
	var b strings.Builder
	if err := writeRing(&b, ring); err != nil {
		t.Fatal(err)
	}
	want := `ring epoch 2 of cluster c1: 2 partitions of 16384 slots, 2 members

NAME  ADDRESS  DC   RACK  WEIGHT  PARTITIONS  PRIMARY   SLOTS  ID
n1    h:1      dc1  r1    1       2 (100%)    2 (100%)  16384  a
n2    h:2      dc1  r2    0.5     1 (50%)     0 (0%)    8192   b
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := writePartitions(&b, ring); err != nil {
		t.Fatal(err)
	}
	want = `PARTITION  SLOTS       REPLICAS
0          0-8191      n1 n2
1          8192-16383  n1 gone
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"/tmp/a-1/kvstore": "/tmp/a-1/kvstore", "/a b": "'/a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := shellWord(word); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", word, got, want)
		}
	}
}
