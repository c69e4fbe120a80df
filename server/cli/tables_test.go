package cli

import (
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvstore/server/admin"
)

func TestWriteStatus(t *testing.T) {
	now := time.Unix(1000, 0)
	list := admin.NodeList{Cluster: "kvstore", ClusterID: "c1", Self: "a", Epoch: 3, Partitions: 256, Reason: "the disk is full", Clock: "its clock is wrong", Filling: 64,
		Refill: &admin.Refill{Partitions: 256, Done: 192, Percent: 75, Keys: 1234567, Bytes: 96 << 20, SecondsLeft: 29.6}, Nodes: []admin.Node{
			{ID: "a", Name: "n1", Address: "127.0.0.1:7001", State: "alive", DC: "dc1", Rack: "r1", Replicas: 256, Primaries: 85},
			{ID: "b", Name: "n2", Address: "127.0.0.1:7002", State: "dead", DC: "dc1", Rack: "r2", Replicas: 128, Primaries: 0, Heartbeat: now.Add(-90 * time.Second)},
			{ID: "c", Name: "n3", Address: "127.0.0.1:7003", State: "alive", DC: "dc1", Rack: "r3", Heartbeat: now.Add(-1500 * time.Millisecond)},
			{ID: "d", Name: "n4", Address: "127.0.0.1:7004", State: "dead", DC: "dc1", Rack: "r4"},
		}}
	var b strings.Builder
	if err := writeStatus(&b, list, now); err != nil {
		t.Fatal(err)
	}
	want := `cluster kvstore (c1): 4 nodes, 2 alive, 2 dead; 256 partitions; ring epoch 3
n1 is not ready: the disk is full
n1: its clock is wrong
n1 is being filled by the others: 64 partitions to go, 75% done, 1234567 keys and 96MiB taken over, about 30s left

NAME  ADDRESS         STATE  HEARTBEAT  PARTITIONS  PRIMARY   DC   RACK  ID
n1*   127.0.0.1:7001  alive  now        256 (100%)  85 (33%)  dc1  r1    a
n2    127.0.0.1:7002  dead   1m ago     128 (50%)   0 (0%)    dc1  r2    b
n3    127.0.0.1:7003  alive  1.5s ago   0 (0%)      0 (0%)    dc1  r3    c
n4    127.0.0.1:7004  dead   never      0 (0%)      0 (0%)    dc1  r4    d

* was asked; the states are as it sees them. PRIMARY: partitions whose writes go to the node first.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestWriteHot(t *testing.T) {
	for _, tc := range []struct {
		h    admin.Hot
		want string
	}{
		{fakeHot(2), `9000 reads and 7.2 writes a second at 2 nodes; a request counts half after 5s
1 node did not answer: what clients ask there is missing here

KEY                         DB  READS/S  WRITES/S  SHARE  PARTITION  REPLICAS
"user:7"                    0   4504     0         50.0%  43         n2 n1
"a\xff b"... (70000 bytes)  15  0        7.2       0.1%   1          n1

PARTITION  READS/S  WRITES/S  SHARE  REPLICAS
43         4600     1.0       51.1%  n2 n1
`},
		{admin.Hot{Members: 1, HalfLife: 5}, "0 reads and 0 writes a second at 1 node; a request counts half after 5s\nno key stands out\n"},
	} {
		var b strings.Builder
		if err := writeHot(&b, tc.h); err != nil || b.String() != tc.want {
			t.Errorf("%v, got\n%s\nwant\n%s", err, b.String(), tc.want)
		}
	}
}

func TestWriteStatusFirstLine(t *testing.T) {
	alive := admin.Node{ID: "a", Name: "n1", State: "alive"}
	for _, tc := range []struct {
		list admin.NodeList
		want string
	}{
		{admin.NodeList{Cluster: "kvstore"}, "cluster kvstore: the node is in no ring yet: its log says what it waits for\n"},
		{admin.NodeList{Cluster: "kvstore", Reason: "the node is not part of a ring yet: h:1 hung up"}, "cluster kvstore: the node is in no ring yet: h:1 hung up\n"},
		{admin.NodeList{Cluster: "kvstore", ClusterID: "c1", Ready: true, Epoch: 1, Partitions: 1, Nodes: []admin.Node{alive}},
			"cluster kvstore (c1): 1 node, all alive; 1 partition; ring epoch 1\n"},
		{admin.NodeList{Cluster: "kvstore", ClusterID: "c1", Ready: true, Epoch: 2, Partitions: 8, Nodes: []admin.Node{alive, {ID: "b", State: "suspect"}}},
			"cluster kvstore (c1): 2 nodes, 1 alive, 1 suspect; 8 partitions; ring epoch 2\n"},
	} {
		var b strings.Builder
		if err := writeStatus(&b, tc.list, time.Unix(1000, 0)); err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(b.String(), "\n"); first+"\n" != tc.want {
			t.Errorf("got %q, want %q", first, tc.want)
		}
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
	want := `ring of cluster c1 at epoch 2: 2 partitions of 8192 slots, 2 members

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

func TestUnanswered(t *testing.T) {
	const addr = "127.0.0.1:7001"
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Get", URL: "http://x", Err: syscall.ECONNREFUSED}, `admin.listen = "127.0.0.1:7001": no node answers there; start one, or name another with --admin.listen=HOST:PORT`},
		{&url.Error{Op: "Get", URL: "http://x", Err: errors.New("malformed")}, `admin.listen = "127.0.0.1:7001": what listens there is not a node's HTTP server (malformed); name another with --admin.listen=HOST:PORT`},
		{errors.New("busy"), `admin.listen = "127.0.0.1:7001": busy`},
	} {
		if got := unanswered(addr, tc.err).Error(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}
