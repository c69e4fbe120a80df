package ring

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// inDCs returns members 1 to n with their data centres dealt from a list.
func inDCs(n int, dcs ...string) []Member {
	members := cluster(n, 1)
	for i := range members {
		members[i].DC = dcs[i%len(dcs)]
	}
	return members
}

// TestRefusals checks that each change that cannot be is refused by one line that
// names what, why and what to do.
func TestRefusals(t *testing.T) {
	three := founded(t, 3, Options{})
	four := founded(t, 4, Options{})
	two := founded(t, 3, Options{N: 1, Partitions: 8})
	gone := must(t)(Retire(finishAll(t, first(Replan(four, Decommission{ID: 4}))), 4))
	dead, _ := mustReplan(t, four, Remove{ID: 4})
	buried := must(t)(Retire(finishAll(t, dead), 4))
	dcs, _ := mustBuild(t, nil, inDCs(6, "east", "west"), Options{N: 6, PerDC: []DCReplicas{{"west", 3}, {"east", 3}}})
	planned := must(t)(Join(four, cluster(5, 1)[4], true))
	join := func(r *Ring, m Member) error { return second(Join(r, m, true)) }
	change := func(r *Ring, c ...Change) error { _, _, err := Replan(r, c...); return err }
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"duplicate name", join(three, Member{ID: 9, Name: "n2", Weight: 1}), `the ring has a node named "n2" already; set node.name`},
		{"who has left", join(gone, cluster(4, 1)[3]), "n4 has left the cluster; start it with an empty data directory to join as a new node"},
		{"who is removed", join(dead, cluster(4, 1)[3]), "n4 was removed from the cluster as dead, and its places are being refilled; start it with an empty data directory"},
		{"who was removed", join(buried, cluster(4, 1)[3]), "n4 was removed from the cluster as dead; start it with an empty data directory to join as a new node"},
		{"no id", join(three, Member{Name: "x", Weight: 1}), `member "x" has no id`},
		{"partitions", three.CheckPartitions(512), "the cluster has 256 partitions and the node is configured for 512; their number never changes: set it to 256"},
		{"stranger", three.Refusal(77, "box"), "box is no member of the cluster; it has to join first"},
		{"below n", change(three, Decommission{ID: 3}), "decommission n3: 2 members would be left for 3 replicas; add a node first, or ask for fewer replicas: kvstore cluster replication 2"},
		{"below n by weight", change(three, Weight{ID: 3, W: 0}), "weight n3 0: 2 members would be left for 3 replicas; add a node first, or ask for fewer replicas: kvstore cluster replication 2"},
		{"below n, both", change(three, Decommission{ID: 3}, Decommission{ID: 2}), "decommission n3: 1 member would be left for 3 replicas"},
		{"below n still", change(three, Decommission{ID: 3}, Decommission{ID: 2}, Replication{N: 2}), "kvstore cluster replication 1"},
		{"below n in a DC", change(dcs, Decommission{ID: 3}), "decommission n3: 2 members would be left in data centre east for 3 replicas; add a node in data centre east first, or ask for fewer replicas: kvstore cluster replication east=2,west=3"},
		{"last holder", change(two, Remove{ID: 2}), "remove n2: nobody else has partitions 0, 1, 4; bring it back, decommission it so that they move, or lose them with --lose"},
		{"stranger leaves", change(three, Decommission{ID: 77}), "decommission: node 000000000000004d is no member of the cluster"},
		{"the dead leaves", change(dead, Decommission{ID: 4}), "decommission: n4 was removed from the cluster as dead"},
		{"stranger removed", change(three, Remove{ID: 77}), "is no member"},
		{"weight", change(three, Weight{ID: 1, W: -1}), "member n1: weight -1 is neither 0 nor from 1e-06 to 1e+06"},
		{"weight of nobody", change(three, Weight{ID: 77, W: 1}), "is no member"},
		{"replaces itself", change(three, Replace{Old: 1, New: 1}), "a node cannot take its own place"},
		{"replaced by nobody", change(three, Replace{Old: 1, New: 77}), "replace n1: node 000000000000004d is no member"},
		{"no replicas", change(three, Replication{}), "0 replicas: not from 1 to 16"},
		{"too many replicas", change(three, Replication{N: 17}), "17 replicas: not from 1 to 16"},
		{"DC twice", change(dcs, Replication{PerDC: []DCReplicas{{"a", 1}, {"a", 2}}}), `replicas of data centre "a" are named twice`},
		{"DC of none", change(dcs, Replication{PerDC: []DCReplicas{{"a", 0}, {"b", 2}}}), "at least 1; leave out"},
		{"DCs do not add up", change(dcs, Replication{N: 3, PerDC: []DCReplicas{{"east", 1}, {"west", 1}}}), "3 replicas: those of the data centres add up to 2"},
		{"no such DC", change(dcs, Replication{PerDC: []DCReplicas{{"north", 1}}}), "replication north=1: no member is in data centre north; the data centres are east, west"},
		{"more than the DC has", change(dcs, Replication{PerDC: []DCReplicas{{"east", 4}, {"west", 2}}}), "replication east=4,west=2: in data centre east 3 members could hold a replica; add nodes there first, or ask for 3 at most"},
		{"more than there are", change(three, Replication{N: 4}), "replication 4: 3 members could hold a replica; add nodes first, or ask for 3 at most"},
		{"more than there will be", change(four, Replication{N: 4}, Weight{ID: 4, W: 0}), "replication 4: 3 members could hold a replica"},
		{"stale", change(planned, AsOf{four.Epoch}, Commit{}), "the ring has changed meanwhile: the plan is of epoch 1, and at epoch 2 something else was planned; look at the new plan and commit that"},
		{"all removed", change(two, Remove{1, true}, Remove{2, true}, Remove{3, true}), "no member could hold partitions"},
	}
	for _, test := range tests {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) || strings.Contains(test.err.Error(), "\n") {
			t.Errorf("%s: %v", test.name, test.err)
		}
	}
}

// What changes lead to counts, in whatever order they are given.
func TestChangesCountTogether(t *testing.T) {
	three, one := founded(t, 3, Options{}), founded(t, 1, Options{})
	joining := must(t)(Join(three, cluster(4, 1)[3], false))
	for name, changes := range map[string][]Change{
		"fewer replicas, then fewer nodes": {Replication{N: 2}, Decommission{ID: 3}},
		"fewer nodes, then fewer replicas": {Decommission{ID: 3}, Replication{N: 2}},
		"more of both":                     {Commit{}, Replication{N: 4}},
		"more of both, in another order":   {Replication{N: 4}, Commit{}},
	} {
		if _, _, err := Replan(joining, changes...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was asked for already may be more than there are members for.
	if _, _, err := Replan(one, Replication{N: 2}); err != nil {
		t.Errorf("fewer than before: %v", err)
	}
}

func first(r *Ring, _ *Plan, err error) *Ring {
	if err != nil {
		panic(err)
	}
	return r
}

// Of two operators who saw one plan, the second to commit is refused; who saw the
// ring while transfers went on is not.
func TestStalePlans(t *testing.T) {
	r := founded(t, 4, Options{Partitions: 16})
	r = must(t)(Join(r, cluster(5, 1)[4], false))
	seen := AsOf{r.Epoch}
	committed, _ := mustReplan(t, r, seen, Commit{})
	if _, _, err := Replan(committed, seen, Commit{}); !errors.Is(err, ErrStale) {
		t.Fatalf("the second commit: %v", err)
	}
	seen.Epoch = committed.Epoch
	stepped := stepOn(t, committed, committed.Transfers[0])
	if _, _, err := Replan(stepped, seen, Weight{ID: 1, W: 2}); err != nil {
		t.Fatalf("after a step: %v", err)
	}
	if _, _, err := Replan(must(t)(Abort(stepped)), seen, Commit{}); !errors.Is(err, ErrStale) {
		t.Fatalf("after an abort: %v", err)
	}
}

func TestJoinTwiceIsJoiningOnce(t *testing.T) {
	r := founded(t, 2, Options{})
	if again := must(t)(Join(r, cluster(2, 1)[1], true)); again != r {
		t.Fatal("a member that joins changes the ring")
	}
	wide := must(t)(Join(r, cluster(3, 1)[2], false))
	if m := wide.Member(3); m.State != Joining || len(wide.Transfers) != 0 || len(wide.Voters()) != 2 {
		t.Fatalf("%+v, %d transfers, voters %v", m, len(wide.Transfers), wide.Voters())
	}
	if again := must(t)(Join(wide, cluster(3, 1)[2], true)); again != wide {
		t.Fatal("joining again does what waits for commit")
	}
	left, _ := mustReplan(t, wide, Decommission{ID: 3})
	if g, found := left.GoneAs(3); !found || g.Name != "n3" || left.Member(3) != nil {
		t.Fatalf("who holds nothing leaves at once: %+v", left.Members)
	}
	dead, _ := mustReplan(t, r, Remove{ID: 2})
	if _, err := Join(dead, Member{ID: 9, Name: "n2", Weight: 1}, true); err != nil {
		t.Fatalf("the name of a removed member is taken: %v", err)
	}
}

// What a member that dies has a part in ends, goes on, or turns round, and no
// partition loses a living replica by it.
func TestDeathDuringTransfer(t *testing.T) {
	tests := []struct {
		name     string
		steps    int // of the transfer before the death
		dead     func(Transfer) NodeID
		holder   func(Transfer) NodeID // who is in the table then
		unfilled bool
	}{
		{"source, copying", 1, from, to, true},
		{"source, switched", 2, from, to, false},
		{"target, copying", 1, to, from, false},
		{"target, switched", 2, to, from, false},
	}
	for _, test := range tests {
		r := founded(t, 5, Options{Partitions: 16})
		r = must(t)(Join(r, cluster(6, 1)[5], true))
		x := r.Transfers[0]
		for range test.steps {
			now, _ := r.TransferOf(x.Partition)
			r = stepOn(t, r, now)
		}
		r, _ = mustReplan(t, r, Remove{ID: test.dead(x)})
		checkSteps(t, r)
		list := r.Replicas(x.Partition)
		_, unfilled := r.Unfilled(x.Partition)
		if !slices.Contains(list, test.holder(x)) || slices.Contains(list, test.dead(x)) || unfilled != test.unfilled {
			t.Errorf("%s: %+v leaves %v, unfilled %v", test.name, x, list, unfilled)
		}
		for p := range Partition(r.Q) {
			if r.living(r.Replicas(p)) < 2 {
				t.Errorf("%s: partition %d is left with %v", test.name, p, r.Replicas(p))
			}
		}
		r = must(t)(Retire(finishAll(t, r), test.dead(x)))
		checkBalanced(t, r)
	}
}

func from(x Transfer) NodeID { return x.From }
func to(x Transfer) NodeID   { return x.To }

// Abort gives up what is planned, and what refills removed members' places goes on.
func TestAbort(t *testing.T) {
	r := founded(t, 4, Options{Partitions: 16})
	r = must(t)(Join(r, cluster(5, 1)[4], true))
	first := r.Transfers[0].Partition
	begun := must(t)(Begin(r, 5, []Partition{first}))
	aborted := must(t)(Abort(begun))
	if len(aborted.Transfers) != 0 || aborted.Member(5).State != Joining || aborted.Holds(first, 5) {
		t.Fatalf("%v, member 5 is %v", aborted.Transfers, aborted.Member(5).State)
	}
	switched := must(t)(Switch(begun, 5, []Partition{first}))
	aborted = must(t)(Abort(switched))
	if len(aborted.Transfers) != 1 || aborted.Member(5).State != Active || !aborted.Holds(first, 5) {
		t.Fatalf("%v, member 5 is %v", aborted.Transfers, aborted.Member(5).State)
	}
	leaving, _ := mustReplan(t, founded(t, 4, Options{Partitions: 16}), Decommission{ID: 2})
	if aborted = must(t)(Abort(leaving)); aborted.Member(2).State != Active || len(aborted.Transfers) != 0 {
		t.Fatalf("who was leaving is %v", aborted.Member(2).State)
	}
	if again := must(t)(Abort(aborted)); again != aborted {
		t.Fatal("aborting nothing changes the ring")
	}
	dead, _ := mustReplan(t, founded(t, 5, Options{Partitions: 16}), Remove{ID: 2})
	if aborted = must(t)(Abort(dead)); aborted != dead {
		t.Fatalf("%d of %d fills are left", len(aborted.Transfers), len(dead.Transfers))
	}
}

// The heir of a member gets what that one held and nothing else moves, whether
// the member lives or is dead.
func TestReplace(t *testing.T) {
	for _, dead := range []bool{false, true} {
		r := founded(t, 6, Options{Partitions: 64})
		r = must(t)(Join(r, cluster(7, 1)[6], false))
		changes := []Change{Replace{Old: 2, New: 7}}
		if dead {
			changes = slices.Insert(changes, 0, Change(Remove{ID: 2}))
		}
		had := r.holdings(2)
		r, plan := mustReplan(t, r, changes...)
		if plan.Moves() != had {
			t.Errorf("dead %v: %d move, it held %d", dead, plan.Moves(), had)
		}
		for _, x := range plan.Transfers {
			if x.From != 2 || x.To != 7 {
				t.Fatalf("dead %v: %+v", dead, x)
			}
		}
		checkBalanced(t, must(t)(Retire(finishAll(t, r), 2)))
	}
}

func TestIncarnate(t *testing.T) {
	r := founded(t, 3, Options{})
	now := Member{RPC: "h:1", Gossip: "h:2", Client: "h:3", DC: "dc1", Rack: "r1"}
	next := must(t)(Incarnate(r, 2, 77, now))
	if m := next.Member(2); m.Incarnation != 77 || m.RPC != "h:1" || m.Name != "n2" || m.Weight != 1 || next.Planned != r.Planned {
		t.Fatalf("%+v", m)
	}
	if again := must(t)(Incarnate(next, 2, 77, now)); again != next {
		t.Fatal("the same again changes the ring")
	}
	if _, err := Incarnate(r, 77, 1, now); err == nil {
		t.Fatal("a stranger is incarnated")
	}
}

func TestOnlyTheNewestGoneAreRemembered(t *testing.T) {
	r := founded(t, 1, Options{Partitions: 1})
	for id := NodeID(2); id < MaxGone+10; id++ {
		r = must(t)(Join(r, Member{ID: id, Name: id.String(), Weight: 1}, false))
		r, _ = mustReplan(t, r, Remove{ID: id})
	}
	if _, found := r.GoneAs(2); found || len(r.Gone) != MaxGone || !r.Gone[0].Removed {
		t.Fatalf("%d are remembered", len(r.Gone))
	}
}
