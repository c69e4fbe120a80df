package cluster

import (
	"fmt"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
)

// asked is a client's request.
type asked struct {
	coordinator.Request
	done chan struct{}
}

// Complete implements coordinator.Completer.
func (a *asked) Complete(*coordinator.Request) { close(a.done) }

// What the clients of two nodes ask for is added up at whichever is asked.
func TestHotOfAllMembers(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	m := openBeside(t, n)
	get := &coordinator.Op{Name: "get", Run: func(*coordinator.Call) {}}
	ask := func(node *Node, key string, times int) {
		for range times {
			a := &asked{done: make(chan struct{})}
			a.Op, a.Key, a.Args, a.Owner = get, []byte(key), [][]byte{[]byte("get"), []byte(key)}, a
			a.Levels.R = coordinator.One
			node.coord.Submit(&a.Request)
			node.EndTurn()
			select {
			case <-a.done:
			case <-time.After(time.Minute):
				t.Fatal("a read has no end")
			}
			if a.Err != nil {
				t.Fatal(a.Err)
			}
		}
	}
	for _, node := range []*Node{n, m} {
		node.coord.TickHot(time.Now())
		ask(node, "both", 30)
		for i := range 10 {
			ask(node, fmt.Sprint("once", i), 1)
		}
	}
	ask(m, "one", 40)
	for _, node := range []*Node{n, m} {
		sum, silent := node.Hot(t.Context(), 2)
		if silent != 0 || len(sum.Keys) != 2 || string(sum.Keys[0].Name) != "both" || string(sum.Keys[1].Name) != "one" {
			t.Fatalf("%d did not answer; hot are %+v", silent, sum.Keys)
		}
		if both, one := sum.Keys[0].Reads, sum.Keys[1].Reads; one > both || sum.Reads < both+one {
			t.Errorf("%v and %v of %v reads a second", both, one, sum.Reads)
		}
		if p := sum.Partitions[0].Partition; p != node.Ring().PartitionOf(sum.Keys[0].Token) && p != node.Ring().PartitionOf(sum.Keys[1].Token) {
			t.Errorf("the busiest partition is %d", p)
		}
		if names := node.Holders(sum.Partitions[0].Partition); len(names) == 0 {
			t.Error("nobody holds it")
		}
	}
}
