package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/membership/membertest"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/server/command"
	"kvstore/storage"
)

// Config is everything that decides a run.
type Config struct {
	Seed       uint64
	Profile    string // for people
	Machines   int
	Members    int // how many of them form the ring, where members come and go; 0: all, for good
	Racks      int // the machines are spread over; 0: each has its own
	Centres    int // data centres that the machines are spread over; 0: one
	N          int
	Each       int  // of N in each data centre, where there are several
	Least      int  // of replicas that are asked for, where their number changes; 0: it does not
	Waits      bool // who joins later waits for a commit
	Partitions int
	Storage    storage.Options
	Keys       []KeySpec
	Clients    int
	Ops        int           // how many operations are done in all
	Bursts     int           // once in so many times a client sends three at once; 0: ten
	Think      time.Duration // mean time between a client's operations
	Trouble    Trouble
	Faults     []Fault       // one is drawn each time; a fault named twice is twice as likely
	Rare       []Fault       // each of these strikes once
	FaultEvery time.Duration // mean time between faults while clients work; 0: none
	FaultFor   time.Duration // mean length of a fault
	MaxDown    int           // machines that may be down at once
	Skew       time.Duration // clocks are up to this far off
	Period     time.Duration // within which every partition is compared
	Delay      time.Duration // that tombstones are kept at least
	HintBytes  int64         // that are kept for each machine that is away; 0: as a server has it
	Stretch    int           // how many times slower gossip is than a server's; 0: not at all
	Plan       Plan
	Log        io.Writer // takes the nodes' logs; nil: none
}

// KeySpec is a key, what is done to it, and which promise it is checked for.
type KeySpec struct {
	Name     string
	Commands []string
	R, W     []coordinator.Level
	Check    Check
	Mode     Modes
	Idle     bool // nobody works on it; see Shrink
}

// Modes says how clients work on a key.
type Modes uint8

// Strictly: every request counts the key's own replicas only. Sloppily: others
// may stand in for them. Mixed: some clients are strict, others sloppy.
const (
	Strictly Modes = iota
	Sloppily
	Mixed
)

// of returns the mode of one client.
func (m Modes) of(client int) coordinator.Mode {
	if m == Sloppily || m == Mixed && client%2 == 0 {
		return coordinator.Sloppy
	}
	return coordinator.Strict
}

// World is a run.
type World struct {
	c          Config
	rand       *rand.Rand // of the schedule
	loop       *loop
	net        *Network
	gossip     *membertest.Network
	machines   []*machine
	clients    []*client
	ops        map[string]*coordinator.Op
	background sync.WaitGroup // opening and closing of processes
	began      time.Time

	clock   int64 // orders calls and returns
	issued  int
	allowed int // how many operations may be issued by now
	history []*Op
	formed  bool // there is a ring
	ending  bool // no new operations and faults
	over    bool // nothing comes after

	mu       sync.Mutex
	dots     past                                // guarded by mu
	stored   map[version.Dot]bool                // guarded by mu: those that were on a disk, or replaced
	runs     map[int][]version.Dot               // guarded by mu: the versions each operation has made
	found    map[*coordinator.Call][]version.Dot // guarded by mu: what runs under way have found
	failures []Violation                         // guarded by mu
	story    []string                            // guarded by mu

	holders map[string][]int // the replicas of keys, once known
	sighted *sighting        // the last look at all disks
	// differing says what level found.
	differing string
	replicas  map[string][]int
	rings     map[ringVersion]uint64 // hashes of all that were adopted
	newest    *ring.Ring             // of them, where members come and go
	hunts     []*hunt
	gossiped  atomic.Int64 // bytes
	metrics   map[string]uint64
	lost      int
	struck    [faults]int // how often each fault happened
	apart     time.Time   // until then a clock may be ahead of the others
}

// newWorld builds the machines and starts nothing. It is called in a bubble.
func newWorld(c Config) *World {
	w := &World{
		c: c, rand: rand.New(rand.NewPCG(c.Seed, 1)), loop: newLoop(synctest.Wait), gossip: membertest.NewNetwork(),
		ops: make(map[string]*coordinator.Op), holders: make(map[string][]int), dots: make(past), stored: make(map[version.Dot]bool), runs: make(map[int][]version.Dot), found: make(map[*coordinator.Call][]version.Dot), began: time.Now(),
		replicas: make(map[string][]int), metrics: make(map[string]uint64), rings: make(map[ringVersion]uint64),
	}
	if w.dynamic() {
		w.loop.settle = func() {
			synctest.Wait()
			w.observe()
		}
	}
	w.net = newNetwork(w.loop, c.Seed)
	w.net.fail = w.fail
	w.gossip.SetFate(w.fate)
	w.net.Ping(func() bool { return w.over })
	for _, op := range command.NewTable().Ops() {
		w.ops[op.Name] = w.watched(op)
	}
	for i := range c.Machines {
		m := &machine{w: w, index: i, rand: rand.New(rand.NewPCG(c.Seed, 1000+uint64(i)))}
		m.disk = newDisk()
		m.out = w.dynamic() && i >= c.Members
		if c.Skew > 0 {
			m.skew = time.Duration(w.rand.Int64N(int64(2*c.Skew))) - c.Skew
			m.right = m.skew
		}
		w.machines = append(w.machines, m)
	}
	for i := range c.Clients {
		w.clients = append(w.clients, &client{w: w, id: i, rand: rand.New(rand.NewPCG(c.Seed, 2000+uint64(i)))})
	}
	return w
}

// fate decides over gossip, by the machines' addresses.
func (w *World) fate(from, to string) (time.Duration, bool) {
	return 500 * time.Microsecond, w.net.Blocked(w.machineAt(from), w.machineAt(to))
}

func (w *World) machineAt(addr string) int {
	return slices.IndexFunc(w.machines, func(m *machine) bool { return m.addr("7946") == addr })
}

// note tells the story.
func (w *World) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("%9.4f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	if w.c.Log != nil {
		fmt.Fprintln(w.c.Log, w.story[len(w.story)-1])
	}
}

// fail notes a violation.
func (w *World) fail(invariant, format string, args ...any) {
	v := Violation{invariant, fmt.Sprintf(format, args...)}
	w.mu.Lock()
	w.failures = append(w.failures, v)
	w.mu.Unlock()
	w.note("VIOLATION %v", v)
}

// failed reports whether something is wrong already.
func (w *World) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures) > 0
}

// run runs events until done and fails if that takes too long.
func (w *World) run(limit time.Duration, what string, done func() bool) bool {
	ok := w.loop.run(limit, func() bool { return done() || w.failed() })
	if !ok {
		w.fail("stands", "waited %v for %s", limit, what)
	}
	return ok && !w.failed()
}

// pass lets time pass.
func (w *World) pass(d time.Duration) {
	end := time.Now().Add(d)
	w.loop.run(d, func() bool { return !time.Now().Before(end) })
}

// form starts all machines and waits until they are one connected ring.
func (w *World) form() bool {
	for _, m := range w.machines {
		if !m.out {
			m.start()
		}
	}
	w.formed = w.together("to form")
	if w.formed && !w.dynamic() {
		r := w.machines[0].up().Ring()
		if err := CheckRing(r, nil); err != nil {
			w.fail("ring", "epoch %d: %v", r.Epoch, err)
		}
	}
	return w.formed
}

// introduction is the time in which nodes that have just been connected tell each
// other what they have collected; requests do not use the connection before.
const introduction = 3 * time.Second

// together waits until the ring is whole and requests can use it.
func (w *World) together(what string) bool {
	whole := w.run(time.Minute, "the ring "+what, w.whole)
	w.pass(introduction)
	return whole
}

// whole reports whether all machines are members and connected with each other.
func (w *World) whole() bool {
	for _, m := range w.machines {
		if m.out {
			continue
		}
		node := m.up()
		if node == nil || len(node.Ring().Members) != w.inside() {
			return false
		}
		for other, o := range w.machines {
			if !o.out && !w.connected(m.index, other) {
				return false
			}
		}
	}
	return true
}

// connected reports whether two machines take requests and each says that the
// other is up.
func (w *World) connected(a, b int) bool {
	x, y := w.machines[a], w.machines[b]
	return x.up() != nil && y.up() != nil &&
		(a == b || x.process.rpc.Connected(y.id()) && y.process.rpc.Connected(x.id()))
}

// work lets the plan happen: the clients do their operations while faults come
// and go.
func (w *World) work() bool {
	p := &w.c.Plan
	w.net.SetTrouble(w.c.Trouble)
	for _, at := range p.Rounds {
		w.loop.after(at, w.round)
	}
	for _, s := range p.Strikes {
		w.loop.after(s.At, func() { w.strike(s) })
	}
	w.inspectEvery()
	w.pass(p.Length)
	return !w.failed()
}

// round lets the clients do as many operations more as a round has.
func (w *World) round() {
	if w.ending {
		return
	}
	w.allowed = min(w.allowed+w.c.Plan.PerRound, w.c.Ops)
	for _, c := range w.clients {
		c.think(50 * time.Millisecond)
	}
}

// settle ends the faults and waits until every request has its answer, the clocks
// agree and the ring is whole.
func (w *World) settle() bool {
	w.ending = true
	w.note("the faults end")
	w.net.Calm(len(w.machines))
	for _, a := range w.machines {
		for _, b := range w.machines {
			w.net.Unblock(a.index, b.index)
		}
		a.mend()
		if !a.out {
			a.start()
		}
	}
	w.pass(time.Until(w.apart))
	return w.run(time.Minute, "every request to end", func() bool { return w.outstanding() == 0 }) &&
		w.quiet() &&
		w.together("to be whole again") &&
		w.handedOff()
}

func (w *World) outstanding() (n int) {
	for _, c := range w.clients {
		n += len(c.waiting)
	}
	return n
}

// converge waits until all replicas hold the same and every partition is settled:
// nobody reads or writes, so it is comparing replicas that brings this about.
func (w *World) converge() bool {
	end := time.Now().Add(2*w.c.Period + w.c.Delay + handoffWithin)
	for !w.failed() {
		whole := w.look()
		if whole && w.level() && w.unsettled() == 0 {
			return !w.failed()
		}
		if !time.Now().Before(end) {
			w.fail("equal", "%v after everybody is back: %d partitions are unsettled; %s", time.Since(end)+2*w.c.Period+w.c.Delay+handoffWithin, w.unsettled(), w.differing)
			return false
		}
		w.pass(w.c.Period / 4)
	}
	return false
}

// unsettled counts the partitions of which a node is not sure to have seen every
// write.
func (w *World) unsettled() (n int) {
	for _, m := range w.machines {
		if node := m.up(); node != nil {
			n += node.Unsettled()
		}
	}
	return n
}

// readAll lets every key be read once more from all its replicas.
func (w *World) readAll() bool {
	reader := w.clients[0]
	for _, k := range (&Result{History: w.history}).keys() {
		op := reader.submit(w.anyUp(w.rand.Uint64()), "get", k, coordinator.Levels{R: coordinator.All, Mode: coordinator.Strict})
		if !w.run(time.Minute, "a last read", func() bool { return op.Return != 0 }) {
			return false
		}
		if op.Outcome != Acknowledged {
			w.fail("stands", "key %s cannot be read at all its replicas: %v", k, op.Err)
		}
	}
	w.pass(5 * time.Second)
	return !w.failed()
}

// collect stops the machines and reads their disks.
func (w *World) collect() (disks []map[string][]byte) {
	for _, k := range w.c.Keys {
		w.replicas[k.Name] = w.replicasOf(k.Name)
	}
	stopped := 0
	for _, m := range w.machines {
		if m.out {
			stopped++
			continue
		}
		w.count(m)
		m.stop(func() { stopped++ })
	}
	if !w.run(time.Minute, "the machines to stop", func() bool { return stopped == len(w.machines) }) {
		return nil
	}
	if !w.look() {
		w.fail("stands", "not every disk can be read")
		return nil
	}
	return w.sighted.encoded
}

// count adds up what a machine's requests met with.
func (w *World) count(m *machine) {
	c := m.up().Requests()
	for name, v := range map[string]uint64{
		"timeouts": c.Timeouts.Load(), "noquorum": c.NoQuorum.Load(), "failed": c.Failed.Load(), "stale": c.StaleWrites.Load(),
		"quorumfirst": c.QuorumFirst.Load(), "repairs": c.Repairs.Load(), "hedges": c.Hedges.Load(), "ahead": c.ClocksAhead.Load(),
	} {
		w.metrics[name] += v
	}
}

// close ends every goroutine of the bubble.
func (w *World) close() {
	w.over = true
	for _, m := range w.machines {
		if m.process != nil {
			m.kill()
		}
	}
	w.net.mu.Lock()
	clear(w.net.listening)
	w.net.mu.Unlock()
	w.background.Wait()
	membertest.Settle()
}

// result is what the checks get.
func (w *World) result(disks []map[string][]byte) *Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &Result{
		Config: w.c, History: w.history, Dots: w.dots, Stored: w.stored, Disks: disks, Replicas: w.replicas,
		Failures: w.failures, Story: w.story, Metrics: w.metrics, Lost: w.lost, Struck: w.struck, Began: w.began, Ended: time.Now(),
	}
}

// Run runs a configuration and returns what is to be checked. It is called in a
// bubble.
func Run(c Config) *Result {
	w := newWorld(c)
	var disks []map[string][]byte
	if w.form() && w.work() && w.settle() && w.converge() && w.readAll() {
		disks = w.collect()
	}
	w.close()
	return w.result(disks)
}
