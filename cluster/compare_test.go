package cluster

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/antientropy"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

var comparedKeys = flag.Int("keys", 50_000, "how many keys the larger pair of replicas has that is compared; ten million take minutes and some 5 GB")

// equalPair is two nodes with the same keys in tables, and what they have read of these.
type equalPair struct {
	nodes [2]*Node
	reads atomic.Int64 // of table files
}

// openPair opens two nodes with so many keys each, all in tables.
func openPair(t *testing.T, keys int) *equalPair {
	t.Helper()
	p := &equalPair{}
	join := []string{}
	for i := range p.nodes {
		fs := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, name string) error {
			if op == vfs.OpRead && strings.HasSuffix(name, ".sst") {
				p.reads.Add(1)
			}
			return nil
		}}
		n, err := Open(Options{
			Dir: "data", Storage: storage.Options{FS: fs, Logger: zerolog.Nop()}, Name: fmt.Sprint("n", i), Join: join,
			Gossip: "127.0.0.1:0", RPC: "127.0.0.1:0", Client: fmt.Sprint("127.0.0.1:", i+1), Partitions: 256,
			BootID: "boot", Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		p.nodes[i], join = n, []string{n.gossip.Self().Gossip}
	}
	a, b := p.nodes[0], p.nodes[1]
	soon(t, "both to be connected", func() bool {
		return a.epoch() != 0 && a.epoch() == b.epoch() && len(a.Ring().Members) == 2 && a.usable(b.id.Node) && b.usable(a.id.Node)
	})
	object := a.object(t, "one")
	var wg sync.WaitGroup
	for _, n := range p.nodes {
		wg.Go(func() { n.fillWith(t, keys, object) })
	}
	wg.Wait()
	return p
}

// fillWith stores an object under so many keys, and leaves no block of them in memory.
func (n *Node) fillWith(t *testing.T, keys int, object []byte) {
	var b storage.Batch
	for i := range keys {
		name := fmt.Appendf(nil, "key:%09d", i)
		k := key.AppendUser(nil, uint64(ring.TokenOf(0, name)), 0, name)
		b.SetSum(k, object, replica.Sum(k, object))
		if i%500 == 499 || i == keys-1 {
			if _, err := n.db.Apply(&b); err != nil {
				t.Error(err)
				return
			}
			b.Reset()
		}
	}
	if err := n.db.Compact(); err != nil {
		t.Error(err)
	}
}

// looks returns how often blocks of tables were looked for, in the cache or on the disk.
func (p *equalPair) looks() (looks int64) {
	for _, n := range p.nodes {
		c := n.db.Metrics().Cache
		looks += int64(c.Hits + c.Misses)
	}
	return looks + p.reads.Load()
}

// compare compares all partitions, and returns how many bytes travelled for it, and how often tables were looked at.
func (p *equalPair) compare(t *testing.T, differing int64) (bytes, reads int64) {
	t.Helper()
	n := p.nodes[0]
	var before int64
	var j *antientropy.Job
	// A machine that is busy with other things may have the two lose each other for a moment.
	soon(t, "a comparison from end to end", func() bool {
		before = p.looks()
		if _, err := n.Repair(0, ring.Partition(n.Ring().Q-1)); err != nil {
			t.Fatal(err)
		}
		soon(t, "the comparison", func() bool { return !n.LastRepair().Ended.IsZero() })
		j = n.LastRepair()
		return j.Complete || j.Differing > 0
	})
	// A round of the other node's own may be the first to meet one of them.
	if !j.Complete || j.Incomplete != 0 || j.Differing > differing || (j.Differing == 0) != (differing == 0) {
		t.Fatalf("the comparison ended with %+v", j)
	}
	return j.Moved, p.looks() - before
}

// Comparing equal replicas moves little and reads no data, however much they hold; bringing d keys level costs in
// proportion to d.
func TestEqualReplicasAreComparedWithoutTheirData(t *testing.T) {
	t.Parallel()
	const most = 64 << 10
	var moved, mended [2]int64
	for i, keys := range []int{*comparedKeys / 10, *comparedKeys} {
		p := openPair(t, keys)
		p.compare(t, 0) // the first may be one too many, while the ring is new
		began := time.Now()
		bytes, reads := p.compare(t, 0)
		t.Logf("%d keys: %d bytes, %d looks at blocks, %v", keys, bytes, reads, time.Since(began))
		if bytes > most || reads != 0 {
			t.Errorf("comparing %d equal keys moved %d bytes and looked at %d blocks, want at most %d and never", keys, bytes, reads, most)
		}
		moved[i] = bytes
		const differing = 50
		other := p.nodes[1].object(t, "two")
		for d := range differing {
			name := fmt.Appendf(nil, "new:%d", d)
			k := key.AppendUser(nil, uint64(ring.TokenOf(0, name)), 0, name)
			if _, err := p.nodes[1].db.SetSum(k, other, replica.Sum(k, other)); err != nil {
				t.Fatal(err)
			}
		}
		bytes, reads = p.compare(t, differing)
		for d := range differing {
			name := fmt.Appendf(nil, "new:%d", d)
			if _, found, err := p.nodes[0].db.Get(nil, key.AppendUser(nil, uint64(ring.TokenOf(0, name)), 0, name)); err != nil || !found {
				t.Errorf("%s is still missing: %v", name, err)
			}
		}
		t.Logf("%d keys, %d of them missing at one: %d bytes, %d looks at blocks", keys, differing, bytes, reads)
		mended[i] = bytes
	}
	if moved[1] > moved[0]*5/4+1024 {
		t.Errorf("bytes grow with the number of keys: %v", moved)
	}
	if slices.Max(mended[:]) > 50*4096 {
		t.Errorf("50 keys cost %v bytes", mended)
	}
}
