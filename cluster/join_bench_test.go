package cluster_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/server/command"
)

// BenchmarkJoin is a node that joins another one and takes a copy of all it has, on real
// disks, over loopback: each operation is a key. The processor time is that of both.
//
//	go test ./cluster -run '^$' -bench Join -benchtime 300000x
func BenchmarkJoin(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	gossip := l.Addr().String() // where the other one is found
	l.Close()
	n := aloneAt(b, gossip)
	op := command.NewTable().Lookup([]byte("set")).Op
	for i := range b.N {
		name := fmt.Appendf(nil, "key:%012d", i)
		if err := n.Do(b.Context(), &coordinator.Request{Op: op, Proto: 2, Key: name, Args: [][]byte{[]byte("set"), name, []byte(value64)}}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len("key:000000000000") + len(value64)))
	before := processorTime(b)
	b.ResetTimer()
	m, err := cluster.Open(cluster.Options{
		Dir: b.TempDir(), Name: "beside", RPC: "127.0.0.1:0", Gossip: "127.0.0.1:0", Client: "127.0.0.1:1", Join: []string{gossip},
		Ops: map[string]*coordinator.Op{}, Logger: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for r := m.Ring(); r == nil || r.Member(m.Self().ID) == nil || len(r.Transfers) > 0 || r.Replicas(0)[0] == 0 || len(r.Replicas(0)) < 2; r = m.Ring() {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(m.TransferMetrics().Keys.Load())/float64(b.N), "moved/op")
	if err := m.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
}

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
