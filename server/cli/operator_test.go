package cli

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/server/admin"
)

// operatedFake is a node whose register is a variable: it decides at once.
type operatedFake struct {
	ring     *ring.Ring
	missing  error // of Change
	recovers error
	dead     ring.NodeID
	answers  map[ring.NodeID]*cluster.Report
}

func (f *operatedFake) Ring() *ring.Ring  { return f.ring }
func (f *operatedFake) Self() ring.Member { return *f.ring.Member(1) }
func (f *operatedFake) State(id ring.NodeID) string {
	if id == f.dead {
		return "dead"
	}
	return "alive"
}
func (f *operatedFake) Change(_ context.Context, change func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	if f.missing != nil {
		return nil, f.missing
	}
	next, err := change(f.ring)
	if err == nil {
		f.ring = next
	}
	return f.ring, err
}
func (f *operatedFake) Recover(context.Context) error { return f.recovers }
func (f *operatedFake) Reports(context.Context, bool) map[ring.NodeID]*cluster.Report {
	return f.answers
}

// membersOf returns n1, n2, ..., alike.
func membersOf(count int) (members []ring.Member) {
	for i := range count {
		members = append(members, ring.Member{ID: ring.NodeID(i + 1), Name: "n" + string(rune('1'+i)), DC: "dc1", Rack: "r", Weight: 1})
	}
	return members
}

// newOperated returns a node of a cluster of so many members and, besides, of one that is joining.
func newOperated(t *testing.T, count int) *operatedFake {
	t.Helper()
	members := membersOf(count + 1)
	r, _, err := ring.Build(nil, members[:count], ring.Options{ClusterID: 1, ClusterName: "c", Partitions: 16})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = ring.Join(r, members[count], false); err != nil {
		t.Fatal(err)
	}
	f := &operatedFake{ring: r, answers: map[ring.NodeID]*cluster.Report{}}
	for _, m := range members {
		report := &cluster.Report{KeyBytes: 1024, Holds: make([]int64, r.Q)}
		for p := range report.Holds {
			if r.Holds(ring.Partition(p), m.ID) {
				report.Holds[p] = 100
			}
		}
		f.answers[m.ID] = report
	}
	return f
}

// serveOperated serves a fake node's admin.listen and returns what runs kvstore cluster at it.
func serveOperated(t *testing.T, f *operatedFake) func(args ...string) (out string, err error) {
	t.Helper()
	s, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Source: fakeSource{count: 1}, Logger: zerolog.Nop(),
		Operator: operator{f, func() int64 { return 1 << 20 }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return clusterAt(s.Addr().String())
}

// clusterAt runs kvstore cluster at an admin address.
func clusterAt(addr string) func(args ...string) (string, error) {
	return func(args ...string) (string, error) {
		var out bytes.Buffer
		s := &shell{stdin: strings.NewReader(""), stdout: &out, stderr: &out}
		err := runCluster(s, append(args, "--admin.listen="+addr))
		return out.String(), err
	}
}

func TestClusterRefusals(t *testing.T) {
	noMajority := &cluster.NoMajority{Missing: []string{"n2", "n3"}, Voters: 3}
	for _, tc := range []struct {
		args string
		want string
	}{
		{"", "cluster: want one of status, plan, commit, abort, decommission, remove, replace, weight, replication, move-pause, move-resume, recover; kvstore help cluster explains"},
		{"shrink", `cluster: there is no "shrink"; want one of status, plan, commit, abort, decommission, remove, replace, weight, replication, move-pause, move-resume, recover`},
		{"decommission", "cluster: want kvstore cluster decommission NODE; kvstore help cluster explains"},
		{"replace n1", "cluster: want kvstore cluster replace OLD NEW; kvstore help cluster explains"},
		{"abort n1", "cluster: want kvstore cluster abort; kvstore help cluster explains"},
		{"weight n1 heavy", `cluster: weight "heavy" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 -1", `cluster: weight "-1" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 NaN --yes", `cluster: weight "NaN" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 -Inf", `cluster: weight "-Inf" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 1e300", `cluster: weight "1e300" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 1e-9", `cluster: weight "1e-9" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"replication", "cluster: want kvstore cluster replication N|DC=N,...; kvstore help cluster explains"},
		{"replication 0", `cluster: replication "0": want a number of replicas from 1 to 7, or one for each data centre that is to have any, as in east=3,west=3`},
		{"replication -1", `cluster: replication "-1": want a number of replicas from 1 to 7, or one for each data centre that is to have any, as in east=3,west=3`},
		{"replication 8", `cluster: replication "8": want a number of replicas from 1 to 7, or one for each data centre that is to have any, as in east=3,west=3`},
		{"replication many", `cluster: replication "many": want a number of replicas from 1 to 7, or one for each data centre that is to have any, as in east=3,west=3`},
		{"replication dc1=3,dc1=2", `cluster: replication "dc1=3,dc1=2": want a number of replicas from 1 to 7, or one for each data centre that is to have any, as in east=3,west=3`},
		{"replication 4 --yes", "replication 4: 3 members could hold a replica; add nodes first, or ask for 3 at most"},
		{"replication dc1=2,west=1 --yes", "replication dc1=2,west=1: no member is in data centre west; the data centres are dc1"},
		{"replication dc1=4 --yes", "replication dc1=4: in data centre dc1 3 members could hold a replica; add nodes there first, or ask for 3 at most"},
		{"plan --weight=n1", `cluster: invalid value "n1" for flag -weight: want NODE=W; kvstore help cluster explains`},
		{"plan --weight=n1=-1", `cluster: invalid value "n1=-1" for flag -weight: weight "-1" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000; kvstore help cluster explains`},
		{"status --epoch=3", "cluster: kvstore cluster status takes no --epoch; kvstore help cluster explains"},
		{"decommission n1 --weight=n2=2", "cluster: kvstore cluster decommission takes no --weight; kvstore help cluster explains"},
		{"recover", "cluster: " + admin.NoForce},
		{"decommission n9 --yes", `there is no member "n9"; the members are n1, n2, n3, n4`},
		{"decommission n3 --yes", "decommission n3: 2 members would be left for 3 replicas; add a node first, or ask for fewer replicas: kvstore cluster replication 2"},
		{"decommission n3", "decommission n3: 2 members would be left for 3 replicas; add a node first, or ask for fewer replicas: kvstore cluster replication 2"},
		{"weight n1 2e6 --yes", `cluster: weight "2e6" of n1: want 0, with which a node holds nothing, or a number from 0.000001 to 1000000`},
		{"weight n1 0 --yes", "weight n1 0: 2 members would be left for 3 replicas; add a node first, or ask for fewer replicas: kvstore cluster replication 2"},
		{"replace n1 n1 --yes", "replace: a node cannot take its own place"},
		{"replace n1 n7 --yes", `there is no member "n7"; the members are n1, n2, n3, n4`},
		{"commit", "nothing has changed: commit asks before it begins and there is no terminal to ask at; give --yes"},
		{"commit --yes --epoch=1", "the ring has changed meanwhile: the plan is of epoch 1, and at epoch 2 something else was planned; look at the new plan and commit that"},
		{"move-pause", "no majority of the ring's voters answers: of 3 voters n2, n3 are missing; nothing has changed; bring them back, or if they are gone for good: kvstore cluster recover --force"},
		{"recover --force", cluster.ErrMajority.Error()},
	} {
		f := newOperated(t, 3)
		f.recovers = cluster.ErrMajority
		if strings.HasPrefix(tc.args, "move") {
			f.missing = noMajority
		}
		before := f.ring
		_, err := serveOperated(t, f)(strings.Fields(tc.args)...)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.args, err, tc.want)
		}
		if f.ring != before {
			t.Errorf("%s: refused, and the ring has changed", tc.args)
		}
	}
}

// The last holder of a partition is not removed, unless its data may be lost.
func TestClusterLastHolder(t *testing.T) {
	members := membersOf(2)
	r, _, err := ring.Build(nil, members, ring.Options{ClusterID: 1, ClusterName: "c", Partitions: 4, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := &operatedFake{ring: r, dead: 2}
	run := serveOperated(t, f)
	if _, err := run("remove", "n2", "--yes"); err == nil || !strings.HasPrefix(err.Error(), "remove n2: nobody else has partitions ") || !strings.HasSuffix(err.Error(), "or lose them with --lose") {
		t.Errorf("refused with %v", err)
	}
	if out, err := run("remove", "n2", "--lose", "--yes"); err != nil || f.ring.Member(2).State != ring.Removed || strings.Contains(out, "n2 is alive") {
		t.Errorf("%v: %s", err, out)
	}
	f.dead = 0
	if out, err := run("plan", "--remove=n1", "--lose"); err == nil {
		t.Errorf("everybody may be removed: %s", out)
	}
}

func TestClusterVerbs(t *testing.T) {
	f := newOperated(t, 3)
	run := serveOperated(t, f)
	for _, step := range []struct {
		args string
		want []string // parts of what is printed
		then func(r *ring.Ring) bool
	}{
		{"status", []string{"4 members, 16 partitions with 3 replicas each\nnothing moves\n", "n4    joining  alive", "1 node joining and waits for kvstore cluster commit"}, nil},
		{"plan", []string{"n4    active  dc1  r     1       0 -> 12     0.0% -> 25.0%   1.2MiB  1200  0B      0\n",
			"12 replicas to move, 12 at least for these shares: about 1.2MiB in 1200 keys, at least about 1s at 1MiB a second for each node (transfer.rate), 16 partitions at a time (transfer.moves)\n", "Nothing has moved. To do it: kvstore cluster commit --epoch=2\n"},
			func(r *ring.Ring) bool { return r.Epoch == 2 }},
		{"plan --weight=n1=0.5 --decommission=n4", []string{"To do it: kvstore cluster commit --epoch=2 --decommission=n4 --weight=n1=0.5\n"}, func(r *ring.Ring) bool { return r.Epoch == 2 }},
		{"commit --yes --epoch=2", []string{"commit: done, the ring is at epoch 3; 12 transfers left, which kvstore cluster status --watch shows\n"},
			func(r *ring.Ring) bool { return len(r.Transfers) == 12 && r.Member(4).State == ring.Active }},
		{"commit --yes", []string{"nothing to change: the ring of epoch 3 is as it would be then, and no node is joining\n"}, nil},
		{"commit --json", []string{`"changed": false`}, nil},
		{"move-pause", []string{"moving is paused until kvstore cluster move-resume"}, func(r *ring.Ring) bool { return r.Paused }},
		{"move-pause", []string{"move-pause: nothing to change at epoch 4"}, nil},
		{"status", []string{"moving is paused with 12 transfers left: kvstore cluster move-resume"}, nil},
		{"move-resume", []string{"done"}, func(r *ring.Ring) bool { return !r.Paused }},
		{"abort", []string{"abort: done, the ring is at epoch 6\n"}, func(r *ring.Ring) bool { return len(r.Transfers) == 0 && r.Member(4).State == ring.Joining }},
		{"replace n1 n4 --yes", []string{"n1    leaving", "replace: done"}, func(r *ring.Ring) bool {
			return r.Member(1).State == ring.Leaving && !slices.ContainsFunc(r.Transfers, func(t ring.Transfer) bool { return t.From != 1 || t.To != 4 })
		}},
		{"status --json", []string{`"state": "leaving"`, `"waiting": 16`}, nil},
		{"abort", []string{"abort: done"}, nil},
		{"plan --replication=2 --decommission=n3", []string{"replicas of each partition: 3 -> 2\n", "note: with 2 replicas a quorum is both of them", " --decommission=n3 --replication=2\n"}, func(r *ring.Ring) bool { return r.N == 3 }},
		{"plan --replication=4 --joining", []string{"replicas of each partition: 3 -> 4\n", " --replication=4 --joining\n"}, nil},
		{"replication 2 --yes", []string{"replicas of each partition: 3 -> 2\n", "16 replicas to drop, once the others have what it has\n", "replication: done"}, func(r *ring.Ring) bool {
			return r.N == 2 && !slices.ContainsFunc(r.Transfers, func(t ring.Transfer) bool { return t.To != 0 })
		}},
		{"replication dc1=3 --yes", []string{"replicas of each partition: 2 -> dc1=3\n", "replication: done"}, func(r *ring.Ring) bool { return r.N == 3 && len(r.PerDC) == 1 }},
		{"status", []string{"16 partitions with 3 replicas (dc1=3) each\n"}, nil},
		{"remove n2 --yes", []string{"note: n2 is alive, as n1 sees it"}, func(r *ring.Ring) bool { return r.Member(2).State == ring.Removed }},
	} {
		out, err := run(strings.Fields(step.args)...)
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", step.args, want, out)
			}
		}
		if err != nil || step.then != nil && !step.then(f.ring) {
			t.Fatalf("%s: %v, and the ring is %+v", step.args, err, f.ring.Transfers)
		}
	}
}

// What fits another state of a node is done, and said.
func TestClusterWarnings(t *testing.T) {
	f := newOperated(t, 4)
	f.dead = 2
	run := serveOperated(t, f)
	for args, want := range map[string]string{
		"plan --decommission=n2": "note: n2 is dead, as n1 sees it; what it holds waits until it is back",
		"plan --replace=n2=n4":   "note: n2 is dead, as n1 sees it; what it holds waits until it is back; if it never comes back, kvstore cluster remove n2 has n4 filled by the others",
		"plan --remove=n3":       "note: n3 is alive, as n1 sees it; removing it shuts it out",
	} {
		if out, err := run(strings.Fields(args)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
	for _, args := range []string{"plan --decommission=n3", "plan --remove=n2", "plan --replace=n3=n4", "plan --remove=n2 --replace=n2=n4"} {
		if out, err := run(strings.Fields(args)...); err != nil || strings.Contains(out, "as n1 sees it") {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
	if out, err := run("decommission", "n2", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "n2 is dead: 12 transfers with it wait until it is back; if it never comes back: kvstore cluster remove n2\n"
	if out, err := run("status"); err != nil || !strings.Contains(out, want) {
		t.Errorf("status: %v, %s", err, out)
	}
}

// Recovering says how much of the data is gone.
func TestClusterRecoverTellsOfLoss(t *testing.T) {
	r, _, err := ring.Build(nil, membersOf(4), ring.Options{ClusterID: 1, ClusterName: "c", Partitions: 4, N: 2})
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := ring.Recover(r, []ring.NodeID{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for p := range ring.Partition(4) {
		if !r.Holds(p, 1) && !r.Holds(p, 2) {
			want++
		}
	}
	if got := lostIn(r, next); got != want || lostIn(r, r) != 0 {
		t.Errorf("%d partitions are lost, want %d", got, want)
	}
}

func TestMovingLine(t *testing.T) {
	for _, tc := range []struct {
		m    admin.NodeMoving
		want string
	}{
		{admin.NodeMoving{Planned: 48}, "[------------------------------] 0 of 48 partitions"},
		{admin.NodeMoving{Planned: 40, Done: 10, Moving: 20, Bytes: 1 << 20, AllBytes: 2 << 20, Rate: 3 << 20, SecondsLeft: 12.4},
			"[###############---------------] 10 of 40 partitions, 20 moving: 1.0MiB of about 2.0MiB, 3.0MiB a second, about 12s left"},
		{admin.NodeMoving{Planned: 40, Done: 10, Moving: 20, Copied: 20},
			"[######################--------] 10 of 40 partitions, 20 moving"},
		{admin.NodeMoving{Planned: 40, Done: 10, Moving: 20, Copied: 10, Bytes: 1 << 20, AllBytes: 2 << 20},
			"[##################------------] 10 of 40 partitions, 20 moving: 1.0MiB of about 2.0MiB"},
		{admin.NodeMoving{Planned: 5, Done: 5, Dropping: 3, Rate: 7, Reason: "n2 is away"}, "3 partitions to drop; held up: n2 is away"},
	} {
		if got := movingLine(&tc.m); got != tc.want {
			t.Errorf("got\n%s\nwant\n%s", got, tc.want)
		}
	}
}

// A plan's time is that of the node that takes longest: by what it is configured for, or by what
// it takes now, and never less than so many moves take.
func TestPace(t *testing.T) {
	for _, tc := range []struct {
		report     *cluster.Report
		bytes      int64
		partitions int
		want       float64
		measured   bool
	}{
		{nil, 10 << 20, 16, 10, false},
		{nil, 0, 160, 0.5, false},
		{nil, 0, 0, 0, false},
		{&cluster.Report{Most: 2 << 20, Moves: 4}, 10 << 20, 16, 5, false},
		{&cluster.Report{Most: 2 << 20, Moves: 4}, 1, 160, 2, false},
		{&cluster.Report{Most: 2 << 20, Moves: 4, Moving: 3, Copied: 2, Rate: 1 << 19}, 10 << 20, 16, 20, true},
		{&cluster.Report{Most: 2 << 20, Moves: 4, Moving: 3, Copied: 3, Rate: 1 << 19}, 10 << 20, 16, 5, false},
	} {
		p := paceOf(tc.report, 1<<20)
		if got := p.seconds(tc.bytes, tc.partitions); got != tc.want || p.measured != tc.measured {
			t.Errorf("%+v, %d bytes in %d partitions: %v s, want %v", tc.report, tc.bytes, tc.partitions, got, tc.want)
		}
	}
}
