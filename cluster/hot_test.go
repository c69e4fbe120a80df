package cluster

import (
	"context"
	"errors"
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
	// What is counted fades, so on a machine that is busy elsewhere it takes another try.
	for end := time.Now().Add(time.Minute); ; {
		ask(m, "one", 40)
		for _, node := range []*Node{n, m} {
			ask(node, "both", 100)
			for i := range 10 {
				ask(node, fmt.Sprint("once", i), 1)
			}
		}
		err := errors.Join(hotAt(t.Context(), n), hotAt(t.Context(), m))
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// hotAt says what is wrong with what a node finds hot.
func hotAt(ctx context.Context, n *Node) error {
	sum, silent := n.Hot(ctx, 2)
	if silent != 0 || len(sum.Keys) != 2 || string(sum.Keys[0].Name) != "both" || string(sum.Keys[1].Name) != "one" {
		return fmt.Errorf("%d did not answer; hot are %+v", silent, sum.Keys)
	}
	if both, one := sum.Keys[0].Reads, sum.Keys[1].Reads; one > both || sum.Reads < both+one {
		return fmt.Errorf("%v and %v of %v reads a second", both, one, sum.Reads)
	}
	r, p := n.Ring(), sum.Partitions[0].Partition
	if p != r.PartitionOf(sum.Keys[0].Token) && p != r.PartitionOf(sum.Keys[1].Token) || len(n.Holders(p)) == 0 {
		return fmt.Errorf("the busiest partition is %d of %v", p, n.Holders(p))
	}
	return nil
}
