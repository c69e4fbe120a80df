package membership_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/membership"
	"kvstore/cluster/membership/membertest"
	"kvstore/cluster/ring"
)

// watcher keeps the last thing told of each node.
type watcher struct {
	mu   sync.Mutex
	last map[ring.NodeID]string
	meta map[ring.NodeID]membership.Meta
	told int
}

func newWatcher() *watcher {
	return &watcher{last: make(map[ring.NodeID]string), meta: make(map[ring.NodeID]membership.Meta)}
}

func (w *watcher) note(id ring.NodeID, what string, m membership.Meta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[id], w.meta[id] = what, m
	w.told++
}

func (w *watcher) Alive(m membership.Meta)   { w.note(m.NodeID, "alive", m) }
func (w *watcher) Updated(m membership.Meta) { w.note(m.NodeID, "alive", m) }
func (w *watcher) Dead(id ring.NodeID)       { w.note(id, "dead", membership.Meta{}) }

func (w *watcher) of(id ring.NodeID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[id]
}

// heard returns how often something was told, and the last meta of a node.
func (w *watcher) heard(id ring.NodeID) (told int, m membership.Meta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told, w.meta[id]
}

// node is one node in a bubble.
type node struct {
	*membership.Members
	*watcher
}

func addrOf(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i) }

// startNode starts node i; change may be nil.
func startNode(t *testing.T, network *membertest.Network, i int, change func(*membership.Options)) node {
	t.Helper()
	w := newWatcher()
	o := membership.Options{
		Self:  membership.Meta{NodeID: ring.NodeID(i), ClusterID: 0xc1, Name: fmt.Sprintf("n%d", i), Weight: 1},
		Label: "test", Bind: addrOf(i), Events: w, Logger: zerolog.Nop(),
	}
	if change != nil {
		change(&o)
	}
	tr, err := network.NewTransport(o.Bind)
	if err != nil {
		t.Fatal(err)
	}
	o.Transport = tr
	m, err := membership.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	n := node{m, w}
	t.Cleanup(func() { n.stop(t) }) // once more for those a test stopped: twice is once
	return n
}

func (n node) stop(t *testing.T) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// newNetwork makes a network whose bubble ends when its nodes have.
func newNetwork(t *testing.T) *membertest.Network {
	t.Cleanup(membertest.Settle)
	return membertest.NewNetwork()
}

// three starts three nodes that know each other.
func three(t *testing.T, network *membertest.Network, change func(*membership.Options)) []node {
	t.Helper()
	var nodes []node
	for i := 1; i <= 3; i++ {
		nodes = append(nodes, startNode(t, network, i, func(o *membership.Options) {
			o.Seeds = []string{addrOf(1), addrOf(i)} // itself among them, as when all have one configuration
			if change != nil {
				change(o)
			}
		}))
	}
	time.Sleep(2 * time.Second)
	for i, n := range nodes {
		for j := range nodes {
			if j != i && n.of(ring.NodeID(j+1)) != "alive" {
				t.Fatalf("node %d does not know node %d", i+1, j+1)
			}
		}
	}
	return nodes
}

func TestThreeNodesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		nodes := three(t, network, func(o *membership.Options) { o.Secret = []byte(strings.Repeat("s", 40)) })
		if got := nodes[0].Members.Members(); len(got) != 3 || !got[1].Alive || time.Since(got[1].Heartbeat) > 3*time.Second {
			t.Errorf("members %+v", got)
		}

		// News of a ring spreads.
		self := nodes[2].Self()
		self.Epoch, self.RingHash = 9, 99
		if err := nodes[2].UpdateMeta(self); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if _, m := nodes[0].heard(3); m.Epoch != 9 || m.RingHash != 99 || m.Gossip != addrOf(3) {
			t.Errorf("node 1 heard %+v", m)
		}

		// A death is noticed in the time the package promises, and a return too.
		nodes[2].stop(t)
		died := time.Now()
		for nodes[0].of(3) != "dead" || nodes[1].of(3) != "dead" {
			if time.Sleep(10 * time.Millisecond); time.Since(died) > 10*time.Second {
				t.Fatal("nobody noticed the death")
			}
		}
		if d := time.Since(died); d > 4*time.Second {
			t.Errorf("the death was noticed after %v", d)
		}
		time.Sleep(2 * time.Second)
		nodes[2] = startNode(t, network, 3, func(o *membership.Options) { o.Secret = []byte(strings.Repeat("s", 32)) })
		time.Sleep(7 * time.Second) // it has no seeds: the others look for it
		if nodes[0].of(3) != "alive" || nodes[2].of(1) != "alive" {
			t.Error("the return went unnoticed")
		}

		// A node that leaves is gone at once.
		if err := nodes[2].Leave(time.Second); err != nil {
			t.Error(err)
		}
		time.Sleep(500 * time.Millisecond)
		if nodes[0].of(3) != "dead" {
			t.Error("node 3 left, and is", nodes[0].of(3))
		}
	})
}

// Who leaves is told of as gone, by whoever is left, and may leave once more, or when it is closed, without harm or delay.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := three(t, newNetwork(t), nil)
		for range 2 {
			if err := nodes[2].Leave(time.Second); err != nil {
				t.Error(err)
			}
		}
		nodes[2].stop(t)
		time.Sleep(500 * time.Millisecond) // far less than it takes to find it dead
		for _, n := range nodes[:2] {
			if n.of(3) != "dead" {
				t.Error("node 3 left, and is", n.of(3))
			}
		}
		began := time.Now()
		if err := nodes[2].Leave(time.Second); err != nil || !time.Now().Equal(began) {
			t.Errorf("leaving when closed took %v: %v", time.Since(began), err)
		}
		// The last to go has nobody to tell.
		nodes[1].stop(t)
		time.Sleep(10 * time.Second)
		if err := nodes[0].Leave(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// A node that was never in a ring, and goes, is not looked for: its address may be another's by then.
func TestOneThatWasInNoRingIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		nodes := three(t, network, nil)
		guest := startNode(t, network, 4, func(o *membership.Options) { o.Self.ClusterID, o.Seeds = 0, []string{addrOf(1)} })
		time.Sleep(2 * time.Second)
		if got := nodes[1].Members.Members(); len(got) != 4 {
			t.Fatalf("members %+v", got)
		}
		guest.stop(t)
		time.Sleep(6 * time.Second)
		if got := nodes[1].Members.Members(); len(got) != 3 || nodes[1].of(4) != "dead" {
			t.Errorf("members %+v, the guest is %s", got, nodes[1].of(4))
		}
	})
}

func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		nodes := three(t, network, nil)
		network.SetFate(func(from, to string) (time.Duration, bool) {
			return 0, (from == addrOf(3)) != (to == addrOf(3))
		})
		time.Sleep(2 * time.Minute) // longer than memberlist gossips to the dead
		if nodes[0].of(3) != "dead" || nodes[2].of(1) != "dead" || nodes[0].of(2) != "alive" {
			t.Error("the partition went unnoticed")
		}
		network.SetFate(func(string, string) (time.Duration, bool) { return time.Millisecond, false })
		time.Sleep(20 * time.Second)
		for i, n := range nodes {
			for j := range nodes {
				if j != i && n.of(ring.NodeID(j+1)) != "alive" {
					t.Errorf("node %d believes node %d is %s", i+1, j+1, n.of(ring.NodeID(j+1)))
				}
			}
		}
	})
}

func TestAnOutageOfHalfASecondIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		// Nothing happens at the same instant in a real network; memberlist compares instants to tell suspicions apart.
		lan := func(string, string) (time.Duration, bool) {
			return 200*time.Microsecond + rand.N(time.Millisecond), false
		}
		network.SetFate(lan)
		nodes := three(t, network, nil)
		for i := range 20 {
			network.SetFate(func(from, to string) (time.Duration, bool) { return 0, from == addrOf(3) || to == addrOf(3) })
			time.Sleep(500 * time.Millisecond)
			network.SetFate(lan)
			told, _ := nodes[0].heard(3)
			time.Sleep(5*time.Second + time.Duration(i)*37*time.Millisecond) // another phase each time
			if again, _ := nodes[0].heard(3); nodes[0].of(3) != "alive" || again != told {
				t.Fatal("an outage of 500 ms was told as a death")
			}
		}
	})
}

func TestWhoIsNotTakenIn(t *testing.T) {
	const removed = 7 // the weight that marks who may be no member
	for name, c := range map[string]struct {
		change func(*membership.Options)
		want   string // of the error of Join; empty: welcome
	}{
		"still without a cluster": {func(o *membership.Options) { o.Self.ClusterID = 0 }, ""},
		"another cluster":         {func(o *membership.Options) { o.Self.ClusterID = 0xbad }, "belongs to cluster 00000000000000c1"},
		"a name that is taken":    {func(o *membership.Options) { o.Self.Name = "n1" }, `named "n1" like this node`},
		"another label":           {func(o *membership.Options) { o.Label = "other" }, "join"},
		"another secret":          {func(o *membership.Options) { o.Secret = []byte(strings.Repeat("x", 16)) }, "join"},
		// Only those who know refuse it, and it does not hear why.
		"one that was removed": {func(o *membership.Options) { o.Self.Weight = removed }, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				nodes := three(t, network, func(o *membership.Options) {
					o.Refuse = func(m membership.Meta) error {
						if m.Weight == removed {
							return errors.New("removed")
						}
						return nil
					}
				})
				stranger := startNode(t, network, 4, c.change)
				_, err := stranger.Join([]string{addrOf(1)})
				if c.want != "-" && (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("joining: %v", err)
				}
				time.Sleep(5 * time.Second)
				if got := nodes[1].of(4); (got == "alive") != (c.want == "") {
					t.Errorf("to node 2 the stranger is %q", got)
				}
			})
		})
	}
}

func TestStartRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self := membership.Meta{NodeID: 1, Name: "n1"}
	for name, c := range map[string]struct {
		o    membership.Options
		want string
	}{
		"address in use":   {membership.Options{Self: self, Bind: l.Addr().String()}, l.Addr().String()},
		"no port":          {membership.Options{Self: self, Bind: "127.0.0.1"}, `"127.0.0.1"`},
		"bad port":         {membership.Options{Self: self, Bind: "127.0.0.1:x"}, `port "x"`},
		"bad advertised":   {membership.Options{Self: self, Bind: "127.0.0.1:0", Advertise: "nowhere"}, `"nowhere"`},
		"every address":    {membership.Options{Self: self, Bind: "[::]:0"}, "say which one"},
		"short secret":     {membership.Options{Self: self, Bind: "127.0.0.1:0", Secret: []byte("x")}, "secret of 1 bytes"},
		"no id":            {membership.Options{Bind: "127.0.0.1:0"}, "id"},
		"long description": {membership.Options{Self: membership.Meta{NodeID: 1, Name: strings.Repeat("n", 600)}, Bind: "127.0.0.1:0"}, "shorten its name"},
	} {
		c.o.Logger = zerolog.Nop()
		m, err := membership.Start(c.o)
		if err == nil {
			t.Errorf("%s: started", name)
			_ = m.Close()
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverTheNetwork(t *testing.T) {
	var nodes []node
	for i := 1; i <= 2; i++ {
		w := newWatcher()
		m, err := membership.Start(membership.Options{Self: membership.Meta{NodeID: ring.NodeID(i), Name: fmt.Sprint(i)}, Label: "net", Bind: "127.0.0.1:0", Events: w})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node{m, w})
		defer nodes[i-1].stop(t)
	}
	if n, err := nodes[1].Join([]string{nodes[0].Self().Gossip}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); nodes[0].of(2) != "alive" || nodes[1].of(1) != "alive"; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("they never met")
		}
	}
}
