package transfer

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/ring"
)

// write writes a key once through a random node, as a coordinator does: a place counts
// when its node and that one's partner have acknowledged.
func (w *world) write() {
	w.mu.Lock()
	from := w.nodes[w.random.IntN(len(w.nodes))]
	k := w.random.IntN(worldPartitions * worldKeys)
	w.writes++
	version, r := w.writes, from.ring
	w.mu.Unlock()
	p := ring.Partition(k / worldKeys)
	set := func(id ring.NodeID) (done bool) {
		to := w.at(id)
		return w.serve(from, to, r.Epoch, p, func() { to.data[p][k%worldKeys] = max(to.data[p][k%worldKeys], version) })
	}
	place, partner, paired := r.Partner(p)
	acks := 0
	for i, id := range r.Replicas(p) {
		done := set(id)
		if beside := !paired || i != place || set(partner); done && beside {
			acks++
		}
	}
	if acks > len(r.Replicas(p))/2 {
		w.mu.Lock()
		w.acked[k] = max(w.acked[k], version)
		w.mu.Unlock()
	}
}

// read reads a quorum and checks that it meets what was acknowledged before.
func (w *world) read() {
	w.mu.Lock()
	from := w.nodes[w.random.IntN(len(w.nodes))]
	k := w.random.IntN(worldPartitions * worldKeys)
	before, r := w.acked[k], from.ring
	w.mu.Unlock()
	p := ring.Partition(k / worldKeys)
	answers, newest := 0, 0
	unfilled, fills := r.Unfilled(p)
	for i, id := range r.Replicas(p) {
		to := w.at(id)
		if fills && i == unfilled || answers > len(r.Replicas(p))/2 {
			continue
		}
		w.serve(from, to, r.Epoch, p, func() {
			if !to.unsure[p] && !to.mute[p] {
				newest, answers = max(newest, to.data[p][k%worldKeys]), answers+1
			}
		})
	}
	if answers > len(r.Replicas(p))/2 && newest < before {
		w.t.Errorf("node %d reads version %d of key %d at epoch %d, and %d was acknowledged", from.id, newest, k, r.Epoch, before)
	}
}

// clients write and read until they are stopped.
func (w *world) clients() {
	for i := range 6 {
		w.wg.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				if w.pause(5, uint64(i)); i%2 == 0 {
					w.write()
				} else {
					w.read()
				}
			}
		})
	}
}

// operate changes the membership somehow.
func (w *world) operate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := ring.NodeID(1 + w.random.IntN(len(w.nodes)))
	change := func(f func(*ring.Ring) (*ring.Ring, error)) { _, _ = w.changed(f) } // what is refused is refused
	replan := func(c ring.Change) {
		change(func(r *ring.Ring) (*ring.Ring, error) {
			next, _, err := ring.Replan(r, c)
			return next, err
		})
	}
	switch w.random.IntN(8) {
	case 0, 1:
		if len(w.nodes) >= 8 {
			return
		}
		m := memberOf(len(w.nodes))
		change(func(r *ring.Ring) (*ring.Ring, error) { return ring.Join(r, m, true) })
		w.add()
	case 2:
		replan(ring.Decommission{ID: id})
	case 3:
		change(ring.Abort)
	case 4:
		change(func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, !r.Paused) })
	case 5:
		replan(ring.Weight{ID: id, W: float64(1 + w.random.IntN(3))})
	case 6:
		replan(ring.Commit{})
	case 7: // one at a time: two at once may be more than the writes were for
		if !w.nodes[id-1].alive && !slices.ContainsFunc(w.newest.Members, func(m ring.Member) bool { return m.State == ring.Removed }) {
			replan(ring.Remove{ID: id})
		}
	}
}

// fault breaks or mends something.
func (w *world) fault() {
	w.mu.Lock()
	i := w.random.IntN(len(w.nodes))
	n, what := w.nodes[i], w.random.IntN(4)
	alive, dead := n.alive, isDead(w.newest, n.id)
	down := 0
	for _, other := range w.nodes {
		if (!other.alive || w.cut[int(other.id)]) && !isDead(w.newest, other.id) {
			down++
		}
	}
	w.mu.Unlock()
	switch {
	case what == 0 && alive && down == 0:
		n.crash()
	case what == 1 && !alive && !dead:
		w.mu.Lock()
		n.open()
		w.mu.Unlock()
	case what == 2 && alive && down == 0:
		w.mu.Lock()
		w.cut[int(n.id)] = true
		w.mu.Unlock()
	case what == 3:
		w.mu.Lock()
		clear(w.cut)
		w.mu.Unlock()
	}
}

// mend ends all faults.
func (w *world) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	for _, n := range w.nodes {
		if !n.alive && !isDead(w.newest, n.id) {
			n.open()
		}
	}
	_, _ = w.changed(func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, false) })
}

// rested says what is not as it is to be when all is done.
func (w *world) rested() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.newest
	if n := len(r.Transfers); n > 0 {
		return fmt.Sprintf("%d transfers, the first is %+v", n, r.Transfers[0])
	}
	for _, m := range r.Members {
		if m.State == ring.Leaving || m.State == ring.Removed {
			return fmt.Sprintf("%s is %v", m.Name, m.State)
		}
	}
	for _, n := range w.nodes {
		for p := range n.data {
			if n.alive && !r.Holds(ring.Partition(p), n.id) && len(n.data[p]) > 0 {
				return fmt.Sprintf("node %d still has partition %d", n.id, p)
			}
		}
	}
	return ""
}

// target returns the table that a ring's transfers lead to.
func target(t *testing.T, r *ring.Ring) [][]ring.NodeID {
	for range 1000 {
		if len(r.Transfers) == 0 {
			break
		}
		next := r.Transfers[0]
		step := ring.Finish
		switch {
		case next.Step == ring.Waiting:
			step = ring.Begin
		case next.Step == ring.Copying && kindOf(r, next) == exchange:
			step = ring.Switch
		}
		var err error
		if r, err = step(r, next.Driver(), []ring.Partition{next.Partition}); err != nil {
			t.Fatal(err)
		}
	}
	lists := make([][]ring.NodeID, r.Q)
	for p := range lists {
		lists[p] = slices.Sorted(slices.Values(r.Replicas(ring.Partition(p))))
	}
	return lists
}

// check checks what must hold at the end.
func (w *world) check(want [][]ring.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range worldPartitions {
		list := w.newest.Replicas(ring.Partition(p))
		if got := slices.Sorted(slices.Values(list)); !slices.Equal(got, want[p]) {
			w.t.Errorf("partition %d is at %v, planned was %v", p, got, want[p])
		}
		for k := range worldKeys {
			have, version := 0, w.acked[p*worldKeys+k]
			for _, id := range list {
				if w.nodes[id-1].data[p][k] >= version {
					have++
				}
			}
			if have <= len(list)/2 {
				w.t.Errorf("version %d of key %d of partition %d is at %d of %v", version, k, p, have, list)
			}
		}
	}
}

// Several drivers move partitions while clients write and read, nodes crash and are cut
// off, and operators change their minds. Once that ends every transfer does, the table
// is the one that was planned, nothing is lost and nothing is left behind.
func TestTransfersUnderFaults(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for seed := *from; seed < *from+*seeds; seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, seed) })
		})
	}
}

var (
	from  = flag.Uint64("from", 0, "the first seed of TestTransfersUnderFaults")
	seeds = flag.Uint64("seeds", 25, "how many of them; a hundred take half a minute")
)

// A replica that is declared dead while its partition gets one more stops nothing: the
// others are who it is taken from, and the dead one's place is refilled after that.
func TestOneReplicaMoreWhileAnotherDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 5)
		grow := func(r *ring.Ring) (*ring.Ring, error) {
			next, _, err := ring.Replan(r, ring.Replication{N: worldReplicas + 1})
			return next, err
		}
		w.mu.Lock()
		if _, err := w.changed(grow); err != nil {
			t.Error(err)
		}
		w.mu.Unlock()
		died := w.nodes[0]
		copying := func() bool {
			return slices.ContainsFunc(w.newest.Transfers, func(t ring.Transfer) bool {
				return t.Step == ring.Copying && t.From == 0 && w.newest.Holds(t.Partition, died.id)
			})
		}
		for w.mu.Lock(); !copying(); w.mu.Lock() {
			w.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		died.alive = false
		if _, err := w.changed(func(r *ring.Ring) (*ring.Ring, error) {
			next, _, err := ring.Replan(r, ring.Remove{ID: died.id})
			return next, err
		}); err != nil {
			t.Error(err)
		}
		w.mu.Unlock()
		died.driver.Close()
		for range 120 {
			if time.Sleep(time.Second); w.rested() == "" {
				break
			}
		}
		if why := w.rested(); why != "" {
			t.Errorf("it does not come to rest: %s", why)
		}
		for _, n := range w.nodes[1:] {
			n.crash()
		}
		w.wg.Wait()
	})
}

// While there are clients a driver leaves the ring alone for a while after each change, and takes what
// has become ready meanwhile together.
func TestChangesRestWhileThereAreClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		w.serves.Store(true)
		w.mu.Lock()
		w.add()
		_, err := w.changed(func(r *ring.Ring) (*ring.Ring, error) { return ring.Join(r, memberOf(3), true) })
		w.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		for range 600 {
			if time.Sleep(time.Second); w.rested() == "" {
				break
			}
		}
		if why := w.rested(); why != "" {
			t.Errorf("it does not come to rest: %s", why)
		}
		n := w.nodes[3]
		for i := range n.changes {
			if i > 0 && n.changes[i].Sub(n.changes[i-1]) < calm {
				t.Errorf("change %d came %v after the one before", i, n.changes[i].Sub(n.changes[i-1]))
			}
		}
		if len(n.changes) < 3 {
			t.Errorf("%d changes", len(n.changes))
		}
		for _, n := range w.nodes {
			n.crash()
		}
		w.wg.Wait()
	})
}

func play(t *testing.T, seed uint64) {
	w := newWorld(t, seed, 3+int(seed%3))
	w.clients()
	for range 40 {
		w.pause(800)
		w.fault()
		if w.pause(800); seed%4 != 0 || len(w.current().Transfers) == 0 {
			w.operate()
		}
	}
	w.mend()
	want := target(t, w.current())
	why := ""
	for range 600 {
		if time.Sleep(time.Second); w.rested() == "" {
			break
		}
	}
	if why = w.rested(); why != "" {
		t.Errorf("it does not come to rest: %s", why)
	}
	close(w.stop)
	for _, n := range w.nodes {
		if n.alive {
			if p := n.driver.Progress(); why != "" {
				t.Logf("node %d: %+v", n.id, p)
			}
			n.crash()
		}
	}
	w.wg.Wait()
	w.check(want)
}

// current returns the register's ring.
func (w *world) current() *ring.Ring {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest
}
