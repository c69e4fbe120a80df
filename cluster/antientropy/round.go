package antientropy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

const (
	// askWithin bounds one question; there is a second more for each MiB it brings. A
	// page at the slowest pace takes no longer: the asker waits for the pace, not for
	// the answer.
	askWithin = 15 * time.Second
	// atOnce is how many pairs of copies a node brings level at a time: enough that
	// waiting for writes under way does not add up over partitions.
	atOnce = 4
	// chunk is how many partitions go through a round together.
	chunk = 256
)

var (
	errNoRing      = errors.New("the node has no ring yet")
	errUnreachable = errors.New("it cannot be reached")
	errFilling     = errors.New("the node's copy is being filled")
	errInexact     = errors.New("its sums are being made anew")
	errStranger    = errors.New("it holds no replica, by its ring")
	errHanding     = errors.New("replicas are being brought hints first")
	errMoving      = errors.New("the partition is on its way to another node")
	errBehind      = errors.New("it has lost what it had confirmed, and is filled first")
)

// Tally is what a round did.
type Tally struct {
	Keys      int64  // compared
	Differing int64  // of them, counted for each replica they differed at
	Moved     int64  // bytes of messages
	Complete  bool   // it ended equal among all replicas
	Reason    string // why not
}

func (t *Tally) add(u *Tally) {
	t.Keys += u.Keys
	t.Differing += u.Differing
	t.Moved += u.Moved
}

// try is one partition in a round.
type try struct {
	p      ring.Partition
	begun  hlc.Timestamp
	steady bool                   // no node had writes for it that replicas lack
	doubts map[ring.NodeID]uint32 // of the replicas, when the round began

	mu    sync.Mutex
	tally Tally                 // guarded by mu
	err   error                 // guarded by mu: the first thing that went wrong
	unfit bool                  // guarded by mu: this node's copy can take no part
	left  map[ring.NodeID]error // guarded by mu: the replicas that could not be compared with
}

// stop ends a round of which this node's copy is no part.
func (t *try) stop(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unfit, t.err = true, err
}

// leave goes on without a replica.
func (t *try) leave(id ring.NodeID, name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == nil {
		t.left = make(map[ring.NodeID]error)
	}
	t.left[id] = err
	if t.err == nil {
		t.err = fmt.Errorf("node %s: %w", name, err)
	}
}

// takes reports whether a replica can still be compared with.
func (t *try) takes(id ring.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.unfit && t.left[id] == nil
}

func (t *try) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// Round compares partitions among all their replicas, of which this node is one,
// and brings them level. What ends equal is settled, and may be collected.
//
// There are two passes over the other replicas. After the first this node holds
// all that any of them held when the round began; in the second each of them gets
// what came of that. A pass is one message for each replica where nothing differs.
func (k *Keeper) Round(ctx context.Context, ps []ring.Partition) []Tally {
	out := make([]Tally, 0, len(ps))
	for len(ps) > 0 {
		n := min(len(ps), chunk)
		out = append(out, k.round(ctx, ps[:n])...)
		ps = ps[n:]
	}
	return out
}

func (k *Keeper) round(ctx context.Context, ps []ring.Partition) []Tally {
	r := k.o.Ring()
	tries := make([]*try, len(ps))
	for i, p := range ps {
		tries[i] = &try{p: p, doubts: make(map[ring.NodeID]uint32)}
		if r == nil || int(p) >= r.Q || !r.Holds(p, k.o.Self) {
			tries[i].stop(errStranger)
		}
	}
	if r != nil {
		k.began(tries)
		k.checkSteady(ctx, r, tries)
		now, err := k.o.Now()
		for _, t := range tries {
			t.begun = now
			if err != nil {
				t.stop(err)
			}
			k.checkSelf(r, t)
		}
		for pass := range 2 {
			k.pass(ctx, r, tries, pass == 0)
		}
		k.conclude(ctx, r, tries)
	}
	return k.report(ctx, tries)
}

func (k *Keeper) began(tries []*try) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range tries {
		if int(t.p) < len(k.parts) {
			p := &k.parts[t.p]
			p.tried, p.urgent = time.Now(), time.Time{}
		}
	}
}

// checkSelf refuses a round that this node's own copy is not fit for.
func (k *Keeper) checkSelf(r *ring.Ring, t *try) {
	if t.failed() {
		return
	}
	s := k.stateOf(r, t.p)
	t.doubts[k.o.Self] = s.doubt
	if err := unfit(s); err != nil {
		t.stop(err)
	}
}

// unfit says why a copy cannot take part in a round.
func unfit(s state) error {
	switch {
	case s.flags&flagStranger != 0:
		return errStranger
	case s.flags&flagFilling != 0:
		return errFilling
	case s.flags&flagInexact != 0:
		return errInexact
	}
	return nil
}

// checkSteady asks every member of the ring whether it has hints. It comes before
// the comparison: a hint that is delivered during a round may reach a replica
// after it was compared.
func (k *Keeper) checkSteady(ctx context.Context, r *ring.Ring, tries []*try) {
	body := []byte{opHints}
	for _, t := range tries {
		t.steady = !k.o.Requests.Unsteady(t.p)
		body = binary.BigEndian.AppendUint16(body, uint16(t.p))
	}
	k.askMembers(ctx, r, body, func(answer []byte, err error) {
		for j, t := range tries {
			t.steady = t.steady && err == nil && len(answer) == len(tries) && answer[j] == 0
		}
	})
}

// askMembers asks every other member of the ring, and takes what each answers.
func (k *Keeper) askMembers(ctx context.Context, r *ring.Ring, body []byte, take func(answer []byte, err error)) {
	var none Tally
	for i := range r.Members {
		id := r.Members[i].ID
		if id == k.o.Self {
			continue
		}
		var answer []byte
		err := errUnreachable
		if k.o.Peers.Connected(id) {
			answer, err = k.ask(ctx, id, body, &none)
		}
		take(answer, err)
	}
}

// pass compares with every other replica once.
func (k *Keeper) pass(ctx context.Context, r *ring.Ring, tries []*try, opens bool) {
	var jobs []func()
	for _, id := range k.others(r, tries) {
		var with []*try
		for _, t := range tries {
			if t.takes(id) && r.Holds(t.p, id) {
				with = append(with, t)
			}
		}
		jobs = append(jobs, k.compare(ctx, r, id, with, opens)...)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, job := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			job()
		})
	}
	wg.Wait()
}

// others returns the other replicas of partitions, in the order of the members.
func (k *Keeper) others(r *ring.Ring, tries []*try) (ids []ring.NodeID) {
	for i := range r.Members {
		id := r.Members[i].ID
		for _, t := range tries {
			if id != k.o.Self && t.takes(id) && r.Holds(t.p, id) {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

// compare asks another replica how partitions stand and returns what is to be done
// about those that differ.
func (k *Keeper) compare(ctx context.Context, r *ring.Ring, id ring.NodeID, tries []*try, opens bool) (jobs []func()) {
	if len(tries) == 0 {
		return nil
	}
	ps := make([]ring.Partition, len(tries))
	for i, t := range tries {
		ps[i] = t.p
	}
	var moved Tally
	states, err := k.states(ctx, id, ps, &moved)
	tries[0].mu.Lock()
	tries[0].tally.add(&moved)
	tries[0].mu.Unlock()
	for i, t := range tries {
		if err != nil {
			t.leave(id, k.o.Peers.Name(id), err)
			continue
		}
		s := states[i]
		own := k.stateOf(r, t.p)
		if opens {
			t.doubts[id] = s.doubt
		}
		err := unfit(s)
		if err == nil && own.collected > s.agreed {
			err = errBehind // it has learned so from the question
		}
		if err != nil {
			t.leave(id, k.o.Peers.Name(id), err)
			continue
		}
		if err := unfit(own); err != nil {
			t.stop(err)
			continue
		}
		if own.sum == s.sum {
			continue
		}
		jobs = append(jobs, func() {
			var did Tally
			c := pair{k: k, peer: id, below: own.collected, tally: &did}
			err := c.level(ctx, leavesOf(r.Q, t.p))
			t.mu.Lock()
			t.tally.add(&did)
			t.mu.Unlock()
			if err != nil {
				t.leave(id, k.o.Peers.Name(id), err)
			}
		})
	}
	return jobs
}

// states asks another node how partitions stand there, and learns from the answer
// which copies here are not to be trusted.
func (k *Keeper) states(ctx context.Context, id ring.NodeID, ps []ring.Partition, t *Tally) ([]state, error) {
	if !k.o.Peers.Connected(id) {
		return nil, errUnreachable
	}
	body := []byte{opStates}
	for _, p := range ps {
		own := k.at(p)
		body = binary.BigEndian.AppendUint16(body, uint16(p))
		body = binary.BigEndian.AppendUint64(body, uint64(own.agreed))
		body = binary.BigEndian.AppendUint64(body, uint64(own.collected))
	}
	answer, err := k.ask(ctx, id, body, t)
	if err != nil {
		return nil, err
	}
	m := &reader{b: answer}
	out := make([]state, len(ps))
	for i, p := range ps {
		out[i] = m.state()
		if m.bad {
			return nil, errMalformed
		}
		if out[i].flags&flagStranger == 0 && out[i].collected > k.at(p).agreed {
			if err := k.distrust(p, id); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// conclude tells all replicas of what ended equal. Each confirms first, durably;
// only when all have, the dead may go.
func (k *Keeper) conclude(ctx context.Context, r *ring.Ring, tries []*try) {
	delay := hlc.Timestamp(time.Duration(k.delay.Load()).Milliseconds()) << 16
	horizons := make(map[*try]hlc.Timestamp, len(tries)) // once: all are told the same
	for _, t := range tries {
		l := leavesOf(r.Q, t.p)
		if t.steady && t.begun > delay && k.o.Store.Sum(l.lo, l.hi) != 0 { // else nothing has to go
			horizons[t] = t.begun - delay
		}
	}
	k.tellAll(ctx, r, tries, true, func(t *try, id ring.NodeID, body []byte) []byte {
		body = binary.BigEndian.AppendUint16(body, uint16(t.p))
		body = binary.BigEndian.AppendUint32(body, t.doubts[id])
		return binary.BigEndian.AppendUint64(body, uint64(horizons[t]))
	}, opAgree)
	var collect []*try
	for _, t := range tries {
		if !t.failed() && horizons[t] != 0 {
			collect = append(collect, t)
		}
	}
	// Who does not hear of it collects after the next round.
	k.tellAll(ctx, r, collect, false, func(t *try, _ ring.NodeID, body []byte) []byte {
		body = binary.BigEndian.AppendUint16(body, uint16(t.p))
		return binary.BigEndian.AppendUint64(body, uint64(horizons[t]))
	}, opCollect)
}

// tellAll sends one message to each replica, this one included. When counts is
// set, one that fails fails the round.
func (k *Keeper) tellAll(ctx context.Context, r *ring.Ring, tries []*try, counts bool, item func(*try, ring.NodeID, []byte) []byte, op byte) {
	for _, id := range append(k.others(r, tries), k.o.Self) {
		var with []*try
		body := []byte{op}
		for _, t := range tries {
			if !t.failed() && r.Holds(t.p, id) {
				with = append(with, t)
				body = item(t, id, body)
			}
		}
		if len(with) == 0 {
			continue
		}
		var moved Tally
		var err error
		if id == k.o.Self {
			_, err = k.Serve(ctx, id, body)
		} else {
			_, err = k.ask(ctx, id, body, &moved)
		}
		with[0].mu.Lock()
		with[0].tally.add(&moved)
		with[0].mu.Unlock()
		for _, t := range with {
			if err != nil && counts {
				t.leave(id, k.o.Peers.Name(id), err)
			}
		}
	}
}

// report counts what a round came to.
func (k *Keeper) report(ctx context.Context, tries []*try) []Tally {
	out := make([]Tally, len(tries))
	for i, t := range tries {
		t.mu.Lock()
		out[i] = t.tally
		out[i].Complete = t.err == nil
		if t.err != nil {
			out[i].Reason = t.err.Error()
		}
		t.mu.Unlock()
		out[i].Keys = max(out[i].Keys, k.o.Requests.Keys(ctx, t.p))
		k.Metrics.Keys.Add(uint64(out[i].Keys))
		if out[i].Complete {
			k.Metrics.Rounds.Add(1)
		} else {
			k.Metrics.Incomplete.Add(1)
		}
		k.mu.Lock()
		if int(t.p) < len(k.parts) {
			k.parts[t.p].because = out[i].Reason
		}
		k.mu.Unlock()
	}
	return out
}
