package coordinator

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// voyage is a journey of one key at random: messages arrive in any order that links
// allow, connections break, nodes adopt rings when they do, while one client counts up
// and others read.
type voyage struct {
	*journey
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	stage   int // of the driver; see drive
	written int // the last value that was tried
	acked   int // the last one that was acknowledged
	told    int // the highest that a reader was told
	write   *outcome
	reads   map[*outcome]int // under way, with what they must not fall behind
	failed  int
	done    int
	held    map[[2]ring.NodeID]bool // links that deliver nothing for now
}

// published is the newest ring that is known to be chosen at a stage of the driver.
func (v *voyage) published() int { return []int{0, 1, 1, 2, 2, 3, 3}[v.stage] }

func (v *voyage) has(n *talker, ring int) bool { return n.view.Load().epoch >= v.rings[ring].Epoch }

// pour merges what one node has of the key into another's copy.
func (v *voyage) pour(from, to *talker) {
	from.store.mu.Lock()
	var object []byte
	for name, record := range from.store.records {
		if len(record) > 0 && !slices.Equal([]byte(name)[:4], []byte("hint")) {
			object = slices.Clone(record)
		}
	}
	from.store.mu.Unlock()
	if object == nil {
		return
	}
	k := replica.Key{Token: ring.TokenOf(0, []byte(v.key)), Name: []byte(v.key)}
	to.Merge(k, object, func(err error) {
		if err != nil {
			v.t.Errorf("seed %d: merge: %v", v.seed, err)
		}
	})
}

// drive takes the transfer a step on when its barrier is reached.
func (v *voyage) drive() {
	switch v.stage {
	case 0: // planned
		v.stage++
	case 1: // copying is chosen
		if v.has(v.from, 1) {
			v.pour(v.from, v.to)
			v.stage++
		}
	case 2: // copied, compared
		v.stage++
	case 3: // switched is chosen
		if v.has(v.from, 2) && v.has(v.to, 2) {
			v.pour(v.from, v.to)
			v.to.CaughtUp(v.part)
			v.stage++
		}
	case 4:
		v.stage++
	case 5: // done is chosen
		if v.has(v.from, 3) {
			v.from.store.mu.Lock()
			clear(v.from.store.records)
			v.from.store.mu.Unlock()
			v.stage++
		}
	}
}

// deliverAny brings the first message of a random link.
func (v *voyage) deliverAny() bool {
	v.mu.Lock()
	if len(v.queue) == 0 {
		v.mu.Unlock()
		return false
	}
	chosen := v.queue[v.rnd.IntN(len(v.queue))]
	v.mu.Unlock()
	if v.held[[2]ring.NodeID{chosen.from, chosen.to}] {
		return true
	}
	if e, ok := v.take(v.nodes[chosen.from], v.nodes[chosen.to], 0); ok {
		v.hand(e)
	}
	return true
}

// cut breaks the connections of two nodes, which are there again at once.
func (v *voyage) cut() {
	a, b := v.any(), v.any()
	if a == b {
		return
	}
	v.mu.Lock()
	v.queue = slices.DeleteFunc(v.queue, func(e envelope) bool {
		return e.from == a.id && e.to == b.id || e.from == b.id && e.to == a.id
	})
	v.mu.Unlock()
	a.Lost(b.id)
	b.Lost(a.id)
	a.SetReach(b.id, Up)
	b.SetReach(a.id, Up)
}

// hold stops what goes from one node to another, or, now and then, lets all links go.
func (v *voyage) hold() {
	if v.rnd.IntN(8) == 0 {
		clear(v.held)
		return
	}
	v.held[[2]ring.NodeID{v.any().id, v.any().id}] = true
}

func (v *voyage) any() *talker { return v.nodes[ring.NodeID(1+v.rnd.IntN(5))] }

// ask begins a write, if none is under way, or a read.
func (v *voyage) ask() {
	if v.write == nil && v.rnd.IntN(2) == 0 {
		v.written++
		v.write = v.any().run("set", v.key, strconv.Itoa(v.written))
	} else if len(v.reads) < 6 {
		floor := max(v.acked, v.told)
		v.reads[v.any().run("get", v.key)] = floor
	}
}

// look takes back what has ended.
func (v *voyage) look() {
	if w := v.write; w != nil && w.finished() {
		if v.write = nil; w.Err == nil {
			v.acked = v.written
			v.done++
		} else {
			v.failed++
		}
	}
	for r, floor := range v.reads {
		if !r.finished() {
			continue
		}
		delete(v.reads, r)
		if r.Err != nil {
			v.failed++
			continue
		}
		v.done++
		got, _ := strconv.Atoi(string(r.Out))
		if got < floor {
			v.t.Errorf("seed %d, stage %d: a reader is told %q after %d was acknowledged or read", v.seed, v.stage, r.Out, floor)
		}
		v.told = max(v.told, got)
	}
}

func (v *voyage) run() {
	v.adopt(v.rings[0], v.all()...)
	for steps := 0; steps < 500 || v.stage < 6; steps++ {
		switch c := v.rnd.IntN(100); {
		case c < 12:
			v.ask()
		case c < 14:
			v.drive()
		case c < 16:
			v.adopt(v.rings[v.published()], v.any())
		case c < 17:
			v.cut()
		case c < 19:
			v.fetch()
		case c < 23:
			v.hold()
		default:
			if !v.deliverAny() {
				v.ask()
			}
		}
		if v.stage%2 == 1 && steps > 500 {
			v.adopt(v.rings[v.published()], v.from, v.to)
		}
		v.look()
	}
	clear(v.held)
	v.adopt(v.rings[3], v.all()...)
	for end := time.Now().Add(2 * time.Minute); (v.write != nil || len(v.reads) > 0) && time.Now().Before(end); v.look() {
		if !v.deliverAny() {
			time.Sleep(time.Millisecond)
		}
	}
	if v.write != nil || len(v.reads) > 0 {
		v.t.Fatalf("seed %d: requests do not end", v.seed)
	}
	for _, n := range v.all() {
		floor := max(v.acked, v.told)
		r := n.run("get", v.key)
		v.finish(r)
		if got, _ := strconv.Atoi(string(r.Out)); r.Err != nil || got < floor {
			v.t.Errorf("seed %d: at the end %v reads %q, %v, after %d", v.seed, n.id, r.Out, r.Err, floor)
		}
	}
}

// No acknowledged write is lost while a partition moves, and no reader is told of a
// value and the next one of an older one, whoever knows which ring.
func TestATransferAtRandom(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	done, failed := 0, 0
	for i := range uint64(150) {
		seed := base + i
		v := &voyage{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), reads: make(map[*outcome]int), held: make(map[[2]ring.NodeID]bool)}
		v.journey = newJourney(t, int(seed%3))
		v.run()
		done, failed = done+v.done, failed+v.failed
		for _, n := range v.all() {
			n.stop()
			n.o.Replica.Close()
		}
	}
	if failed > done/10 {
		t.Errorf("%d requests failed, %d did not", failed, done)
	}
	t.Logf("%d requests, %d ended in errors after cuts", done, failed)
}
