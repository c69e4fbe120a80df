package coordinator

import (
	"testing"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// awaited is a waiter that counts how often it is to be expected.
type awaited struct{ expected int }

func (*awaited) receive(uint64, ring.NodeID, *wire.Message) {}
func (*awaited) lost(uint64, ring.NodeID)                   {}
func (*awaited) wake(uint64, alarm)                         {}
func (a *awaited) expect()                                  { a.expected++ }

// TestExpect: ids that nobody has, or that others say, do no harm.
func TestExpect(t *testing.T) {
	var p pending
	var a, b awaited
	first, _ := p.add(&a, 0)
	second, _ := p.add(&b, 0)
	p.remove(second)
	p.expect([]uint64{first, second, 0, ^uint64(0), 1 << 40, first})
	if a.expected != 2 || b.expected != 0 {
		t.Errorf("one that waits was expected %d times, one that does not %d times", a.expected, b.expected)
	}
	p.expect(nil)
	for _, w := range []waiter{new(writeOp), new(forwardOp), new(readOp)} {
		w.expect()
	}
}
