package server

import "testing"

func TestRequestsAllocateNothing(t *testing.T) {
	_, p := open(t, newFake(), Options{})
	in := []byte(cmd("SET", "k", "some value") + cmd("GET", "k"))
	run := func() {
		p.session.Receive(in)
		p.session.Seal()
		p.session.Flush()
		p.sent = p.sent[:0]
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n > 0.5 && !raceEnabled {
		t.Errorf("%v allocations for a SET and a GET", n)
	}
}
