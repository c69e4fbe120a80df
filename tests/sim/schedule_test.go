package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/tidwall/redcon"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/storage"
)

// scene is a run whose faults are written down instead of drawn.
type scene struct {
	*World
	t *testing.T
}

// play forms a ring of three machines and plays a scene on it; then it checks
// what always holds of its keys.
func play(t *testing.T, change func(c *Config), act func(s *scene)) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 1)
	c := FromSeed(2)
	c.Ops, c.Plan = 0, Plan{} // none but those of the scene
	c.Keys, c.Clients, c.Skew = []KeySpec{{Name: "k", R: majority, W: majority, Check: Linear}}, 1, 0
	if change != nil {
		change(&c)
	}
	var r *Result
	synctest.Test(t, func(t *testing.T) {
		s := &scene{newWorld(c), t}
		var disks []map[string][]byte
		if s.form() {
			act(s)
			if s.settle() && s.converge() && s.readAll() {
				disks = s.collect()
			}
		}
		s.close()
		r = s.result(disks)
	})
	report(t, r)
}

var (
	quorums = coordinator.Levels{R: coordinator.Quorum, W: coordinator.Quorum}
	ones    = coordinator.Levels{R: coordinator.One, W: coordinator.One}
)

// do does an operation at a machine and waits for its end.
func (s *scene) do(m int, levels coordinator.Levels, command, key string) *Op {
	s.t.Helper()
	o := s.clients[0].submit(s.machines[m], command, key, levels)
	s.run(time.Minute, "an operation", func() bool { return o.Return != 0 })
	return o
}

// set writes a new value and returns it.
func (s *scene) set(m int, levels coordinator.Levels, want Outcome) string {
	s.t.Helper()
	o := s.do(m, levels, "set", "k")
	if o.Outcome != want {
		s.t.Errorf("SET at n%d: %v, want %v", m, o, want)
	}
	return o.Value
}

// get reads and expects a value, "" for none.
func (s *scene) get(m int, levels coordinator.Levels, want string) {
	s.t.Helper()
	if o := s.do(m, levels, "get", "k"); o.Outcome != Acknowledged || o.Reply.Text != want {
		s.t.Errorf("GET at n%d: %v, want %q", m, o, brief(want))
	}
}

// asked is a request outside of the history.
type asked struct {
	s    *scene
	done bool
	req  coordinator.Request
}

// Complete implements coordinator.Completer.
func (a *asked) Complete(*coordinator.Request) { a.s.loop.after(0, func() { a.done = true }) }

// ask does a command with several words and returns its reply.
func (s *scene) ask(m int, levels coordinator.Levels, name, key string, args ...string) redcon.RESP {
	s.t.Helper()
	a := &asked{s: s}
	a.req = coordinator.Request{Op: s.ops[name], Proto: 2, Key: []byte(key), Levels: levels, Owner: a}
	for _, arg := range args {
		a.req.Args = append(a.req.Args, []byte(arg))
	}
	node := s.machines[m].up()
	node.Submit(&a.req)
	node.EndTurn()
	s.run(time.Minute, name, func() bool { return a.done })
	if a.req.Err != nil {
		s.t.Errorf("%v at n%d: %v", args, m, a.req.Err)
	}
	_, reply := redcon.ReadNextRESP(a.req.Out)
	return reply
}

// siblings returns the key's context and its values.
func (s *scene) siblings(m int) (context string, values []string) {
	s.t.Helper()
	parts := []redcon.RESP{}
	s.ask(m, coordinator.Levels{R: coordinator.All}, "vclock|get", "k", "vclock", "get", "k").ForEach(func(r redcon.RESP) bool {
		parts = append(parts, r)
		return true
	})
	parts[1].ForEach(func(r redcon.RESP) bool {
		values = append(values, r.String())
		return true
	})
	return parts[0].String(), values
}

// roles returns the machines in the order of the key's preference list.
func (s *scene) roles(key string) (order []int) {
	r := s.machines[0].up().Ring()
	for _, id := range r.Replicas(r.PartitionOf(ring.TokenOf(0, []byte(key)))) {
		order = append(order, slices.IndexFunc(s.machines, func(m *machine) bool { return m.id() == id }))
	}
	return order
}

// apart isolates a machine and waits until everybody has noticed.
func (s *scene) apart(m int) {
	s.split(1<<uint(m), time.Hour)
	s.pass(4 * time.Second)
}

// heal ends all isolation and waits until the ring is whole.
func (s *scene) heal() {
	for a := range s.machines {
		for b := range s.machines {
			s.net.Unblock(a, b)
		}
	}
	s.together("to be whole")
}

func TestTwoPartitionedWritersMakeSiblings(t *testing.T) {
	play(t, func(c *Config) { c.Keys[0].Check = Kept }, func(s *scene) {
		order := s.roles("k")
		s.apart(order[0])
		one := s.set(order[0], ones, Acknowledged)
		// Nodes that cannot hear of each other are ordered by their own clocks.
		s.pass(time.Second)
		two := s.set(order[1], ones, Acknowledged)
		s.heal()
		context, values := s.siblings(order[2])
		if slices.Sort(values); !slices.Equal(values, []string{one, two}) {
			t.Errorf("siblings %q, want %q and %q", values, brief(one), brief(two))
		}
		s.get(order[0], quorums, two) // the later one
		s.ask(order[1], quorums, "vclock|set", "k", "vclock", "set", "k", context, "both")
		if _, values = s.siblings(order[0]); !slices.Equal(values, []string{"both"}) {
			t.Errorf("after a write with their context: %q", values)
		}
		// A writer that still has the old context makes a sibling again.
		s.ask(order[1], quorums, "vclock|set", "k", "vclock", "set", "k", context, "late")
		if _, values = s.siblings(order[2]); len(values) != 2 {
			t.Errorf("after a write with an old context: %q", values)
		}
		s.set(order[2], quorums, Acknowledged)
		if _, values = s.siblings(order[2]); len(values) != 1 {
			t.Errorf("after a plain write: %q", values)
		}
	})
}

func TestASoftPrimaryAlone(t *testing.T) {
	play(t, nil, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		s.split(1<<uint(order[0]), time.Hour)
		// It has not noticed: what it writes is not acknowledged.
		s.set(order[0], quorums, Unknown)
		s.pass(4 * time.Second)
		// Now it has, and refuses; the others go on at once.
		s.set(order[0], quorums, Refused)
		if o := s.do(order[0], quorums, "get", "k"); o.Outcome != Refused {
			t.Errorf("a read without a quorum: %v", o)
		}
		latest := s.set(order[1], quorums, Acknowledged)
		s.get(order[2], quorums, latest)
		s.heal()
		s.get(order[0], quorums, latest)
	})
}

func TestAStalePrimaryReturns(t *testing.T) {
	for _, c := range []struct {
		name string
		back func(s *scene, m int)
	}{
		{"after isolation", func(*scene, int) {}},
		{"after a kill", func(s *scene, m int) {
			s.machines[m].kill()
			s.machines[m].start()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, nil, func(s *scene) {
				order := s.roles("k")
				s.set(order[0], quorums, Acknowledged)
				s.apart(order[0])
				s.set(order[1], quorums, Acknowledged)
				s.set(order[2], quorums, Acknowledged)
				c.back(s, order[0])
				s.heal()
				// Its own copy is two writes behind, and nobody has told it.
				latest := s.set(order[0], quorums, Acknowledged)
				for m := range s.machines {
					s.get(m, quorums, latest)
				}
				if _, values := s.siblings(order[1]); !slices.Equal(values, []string{latest}) {
					t.Errorf("held is %q, want %q alone", values, brief(latest))
				}
			})
		})
	}
}

func TestAStalePrimaryCountsOn(t *testing.T) {
	play(t, func(c *Config) { c.Keys = []KeySpec{{Name: "n", R: majority, W: majority, Check: Counted}} }, func(s *scene) {
		order := s.roles("n")
		incr := func(m int, want string) {
			t.Helper()
			if o := s.do(m, quorums, "incr", "n"); o.Outcome != Acknowledged || o.Reply.Text != want {
				t.Errorf("%v, want %s", o, want)
			}
		}
		incr(order[0], "1")
		s.apart(order[0])
		incr(order[1], "2")
		incr(order[2], "3")
		s.heal()
		incr(order[0], "4")
		incr(order[1], "5")
	})
}

func TestTheEntryNodeDiesInTheMiddleOfAWrite(t *testing.T) {
	for _, wait := range []time.Duration{0, 200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond} {
		t.Run(wait.String(), func(t *testing.T) {
			play(t, nil, func(s *scene) {
				order := s.roles("k")
				s.set(order[0], quorums, Acknowledged)
				o := s.clients[0].submit(s.machines[order[1]], "set", "k", quorums)
				s.pass(wait)
				s.machines[order[1]].kill()
				s.pass(10 * time.Millisecond)
				if o.Return == 0 {
					t.Error("the client still waits")
				}
				for range 3 {
					if o := s.do(order[2], quorums, "get", "k"); o.Outcome != Acknowledged {
						t.Errorf("a reader: %v", o)
					}
				}
				s.set(order[2], quorums, Acknowledged)
			})
		})
	}
}

func TestAClockTenMinutesAhead(t *testing.T) {
	play(t, nil, func(s *scene) {
		order := s.roles("k")
		s.set(order[0], quorums, Acknowledged)
		ahead := order[2]
		s.machines[ahead].skew = 10 * time.Minute
		s.do(ahead, quorums, "set", "k") // its clock has moved now; what comes of the write is not known
		s.pass(time.Second)
		for _, m := range order[:2] {
			s.set(m, quorums, Acknowledged)
			latest := s.set(m, quorums, Acknowledged)
			s.get(order[0], quorums, latest)
			s.get(order[1], quorums, latest)
		}
		if o := s.do(ahead, quorums, "set", "k"); o.Outcome == Acknowledged {
			t.Errorf("its write was taken: %v", o)
		}
		limit := time.Now().Add(time.Second).UnixMilli()
		for d, w := range s.dots {
			if d.Time.Millis() > limit && uint64(d.Node) != s.machines[ahead].up().Self().Incarnation {
				t.Errorf("the version %v of %+v is of the future", d, w)
			}
		}
		if s.machines[order[0]].up().Requests().ClocksAhead.Load() == 0 {
			t.Error("nobody noticed")
		}
		// Only time mends its clock, which does not fall: the reserved bound is ahead.
		s.machines[ahead].kill()
		s.machines[ahead].skew = 0
		s.pass(10 * time.Minute) // before that it refuses to start
		s.machines[ahead].start()
		s.pass(time.Minute)
	})
}

func TestASilentReplicaDelaysNobody(t *testing.T) {
	play(t, nil, func(s *scene) {
		order := s.roles("k")
		latest := s.set(order[0], quorums, Acknowledged)
		s.pass(time.Second)
		s.split(1<<uint(order[1]), time.Hour)
		late := 0
		for range 40 {
			began := time.Now()
			s.get(order[0], quorums, latest)
			if took := time.Since(began); took > 300*time.Millisecond {
				t.Errorf("a read took %v", took)
			} else if took > 50*time.Millisecond {
				late++ // the budget for hedging was used up
			}
			s.pass(20 * time.Millisecond)
		}
		if late > 3 {
			t.Errorf("%d reads of 40 were late: the replica is not suspected", late)
		}
	})
}

func TestIncrementsInParallel(t *testing.T) {
	play(t, func(c *Config) {
		c.Keys = []KeySpec{{Name: "n", R: majority, W: majority, Check: Atomic}, {Name: "x", R: majority, W: majority, Check: Atomic}}
	}, func(s *scene) {
		const each = 40
		var ops []*Op
		for i := range each {
			for m := range s.machines {
				ops = append(ops, s.clients[0].submit(s.machines[m], "incr", "n", quorums))
				if i < 5 {
					ops = append(ops, s.clients[0].submit(s.machines[m], "setnx", "x", quorums))
				}
			}
		}
		s.run(time.Minute, "all operations", func() bool { return s.outstanding() == 0 })
		winners := 0
		for _, o := range ops {
			if o.Outcome != Acknowledged {
				t.Errorf("%v", o)
			}
			if o.Command == "setnx" && o.Reply.Text == "1" {
				winners++
			}
		}
		if o := s.do(0, quorums, "get", "n"); o.Reply.Text != fmt.Sprint(3*each) || winners != 1 {
			t.Errorf("%d increments made %s; %d SETNX won", 3*each, o.Reply.Text, winners)
		}
	})
}

// TestScanMissesNothing pages through the keys from one node after another, while
// other keys come and go and every machine starts anew.
func TestScanMissesNothing(t *testing.T) {
	play(t, func(c *Config) { c.Keys = nil; c.Storage.Fsync = storage.SyncAlways }, func(s *scene) {
		r := rand.New(rand.NewPCG(1, 1))
		const keys = 300
		write := func(command string, i int) {
			if o := s.do(r.IntN(2), quorums, command, fmt.Sprintf("%s%d", []string{"stays", "goes"}[i%2], i)); o.Outcome != Acknowledged {
				t.Fatalf("%v", o)
			}
		}
		for i := range keys {
			write("set", i)
		}
		seen := map[string]int{}
		cursor, pages := uint64(0), 0
		for ; pages == 0 || cursor != 0; pages++ {
			m := s.machines[pages%3]
			page, err := s.scan(m, cursor, 1+r.IntN(20))
			if errors.Is(err, coordinator.ErrNoQuorum) {
				s.pass(100 * time.Millisecond)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range page.Keys {
				seen[string(k)]++
			}
			cursor = page.Cursor
			write([]string{"del", "set"}[r.IntN(2)], 1+2*r.IntN(keys/2))
			if pages%8 == 5 {
				victim := s.machines[2]
				victim.kill()
				victim.start()
				s.together("to be whole")
			}
		}
		for i := 0; i < keys; i += 2 {
			if seen[fmt.Sprintf("stays%d", i)] == 0 {
				t.Errorf("stays%d was never returned, in %d pages", i, pages)
			}
		}
	})
}

// scan asks a machine for a page.
func (s *scene) scan(m *machine, cursor uint64, count int) (page cluster.ScanPage, err error) {
	done := false
	node := m.up()
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		page, err = node.Scan(ctx, cluster.ScanQuery{Cursor: cursor, Count: count, Slot: -1, Levels: quorums})
		s.loop.after(0, func() { done = true })
	})
	s.run(time.Minute, "a page", func() bool { return done })
	return page, err
}

// TestAFullDiskTellsNobodyOfWhatItDidNotTake: what a soft primary could not write
// to its log is not sent to others later, when the log is known to be closed and
// reads go on. The primary would not know of it after its end.
func TestAFullDiskTellsNobodyOfWhatItDidNotTake(t *testing.T) {
	play(t, func(c *Config) { c.Keys[0].Check = Kept }, func(s *scene) {
		order := s.roles("k")
		first := s.set(order[0], quorums, Acknowledged)
		s.pass(time.Second) // all have it
		disk := s.machines[order[0]].disk
		disk.SetCapacity(disk.Used())
		s.set(order[0], quorums, Unknown)
		for range 4 {
			s.pass(300 * time.Millisecond)
			s.do(order[0], ones, "get", "k") // in the end its turns end well
		}
		for _, m := range order[1:] {
			s.get(m, ones, first)
		}
		s.machines[order[0]].kill()
		disk.SetCapacity(-1)
		s.get(order[1], quorums, first)
	})
}
