package sim

import (
	"testing"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
)

var (
	nearby  = coordinator.Levels{R: coordinator.LocalQuorum, W: coordinator.LocalQuorum}
	eachOne = coordinator.Levels{R: coordinator.EachQuorum, W: coordinator.EachQuorum}
)

// A data centre is lost, whole, or out of reach: the clients of the other go on, but for
// what they ask of both, and it has what it missed when it is back.
func TestADataCentreIsLost(t *testing.T) {
	for _, killed := range []bool{true, false} {
		play(t, func(c *Config) {
			c.Machines, c.Centres, c.Each, c.N = 6, 2, 3, 6
			kept(c)
		}, func(s *scene) {
			s.set(0, eachOne, Acknowledged)
			strike := Strike{Fault: Sever, Draw: 1, Length: time.Minute}
			if killed {
				strike.Fault = Blackout
			}
			s.strikeCentre(strike)
			s.pass(4 * time.Second)
			last := s.set(0, nearby, Acknowledged)
			s.get(2, nearby, last)
			s.set(2, eachOne, Refused)
			s.set(4, quorums, Refused)
			s.pass(time.Minute)
			s.together("to be whole")
			s.handedOff()
			s.get(1, nearby, last)
			s.get(3, eachOne, last)
		})
	}
}

// What each data centre has acknowledged by itself, while it was apart from the other, is
// there when they meet.
func TestBothDataCentresWrite(t *testing.T) {
	play(t, func(c *Config) {
		c.Machines, c.Centres, c.Each, c.N = 4, 2, 2, 4
		c.Keys = []KeySpec{{Name: "n", R: near, W: near, Check: Counted}}
	}, func(s *scene) {
		s.strikeCentre(Strike{Fault: Sever, Length: time.Minute})
		s.pass(4 * time.Second)
		for m := range 4 {
			if o := s.do(m, nearby, "incr", "n"); o.Outcome != Acknowledged {
				t.Errorf("%v", o)
			}
		}
		s.pass(time.Minute)
		s.together("to be whole")
		s.handedOff()
		if o := s.do(0, eachOne, "incr", "n"); o.Reply.Text != "5" {
			t.Errorf("%v, want 5", o)
		}
	})
}

// The check of rings looks at each data centre.
func TestARingOfDataCentresIsChecked(t *testing.T) {
	var members []ring.Member
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		members = append(members, ring.Member{ID: ring.NodeID(i + 1), Name: name, DC: centre(i % 2), Rack: name, Weight: 1})
	}
	each := []ring.DCReplicas{{DC: "dc0", N: 2}, {DC: "dc1", N: 2}}
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, Partitions: 16, PerDC: each})
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckRing(r, nil); err != nil {
		t.Error(err)
	}
	other := *r
	other.PerDC = []ring.DCReplicas{{DC: "dc0", N: 1}, {DC: "dc1", N: 3}}
	if CheckRing(&other, nil) == nil {
		t.Error("a data centre has too few holders")
	}
}

// What a data centre has acknowledged to its clients hides from them what was there
// before, and from nobody else.
func TestWhatIsFreshNearby(t *testing.T) {
	at := func(machine string, o *Op) *Op {
		o.Machine = machine
		return o
	}
	for _, c := range []struct {
		name  string
		ops   []*Op
		fresh bool
	}{
		{"written here", []*Op{at("n0", set("a", 1, 2)), at("n2", set("b", 3, 4)), at("n0", get("a", 5, 6))}, false},
		{"written there", []*Op{at("n0", set("a", 1, 2)), at("n1", set("b", 3, 4)), at("n0", get("a", 5, 6))}, true},
		{"first there, then here", []*Op{at("n1", set("a", 1, 2)), at("n0", set("b", 3, 4)), at("n2", get("a", 5, 6))}, false},
	} {
		r := &Result{Config: Config{Centres: 2, Keys: []KeySpec{{Name: "k", Check: FreshNearby}}}, History: c.ops}
		if bad := r.Verify(); (len(bad) == 0) != c.fresh {
			t.Errorf("%s: %v", c.name, bad)
		}
	}
}
