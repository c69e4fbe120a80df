package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"kvstore/cluster/ring"
)

// house is some nodes whose messages arrive at once, or not at all.
type house struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[ring.NodeID]*houseNode
	down  map[ring.NodeID]bool // guarded by mu
	// before, when set, is called for each request; an error loses it. Guarded by mu.
	before func(from, to ring.NodeID, r *Request) error
	seed   uint64 // guarded by mu
}

type houseNode struct {
	h           *house
	id          ring.NodeID
	incarnation uint64
	mu          sync.Mutex
	disk        []byte     // guarded by mu
	adopted     *ring.Ring // guarded by mu
	acceptor    *Acceptor
	proposer    *Proposer
}

func (n *houseNode) Load() ([]byte, error) { return n.disk, nil }
func (n *houseNode) Save(b []byte) error   { n.disk = b; return nil }

func (n *houseNode) ring() *ring.Ring {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.adopted
}

func (n *houseNode) adopt(r *ring.Ring) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Member(n.id) == nil || n.adopted != nil && !r.NewerThan(n.adopted) {
		return nil
	}
	if err := n.acceptor.Adopting(r); err != nil {
		return err
	}
	n.adopted = r
	return nil
}

// restart starts the node again from its disk.
func (n *houseNode) restart() {
	var err error
	n.acceptor, _, err = NewAcceptor(AcceptorOptions{Self: n.id, Incarnation: n.incarnation, Store: n, Ring: n.ring, Adopt: n.adopt})
	if err != nil {
		n.h.t.Fatal(err)
	}
	n.proposer = NewProposer(Options{
		Self: n.id, Ring: n.ring, Adopt: n.adopt, Random: n.h.random,
		Ask: func(ctx context.Context, m *ring.Member, body []byte) ([]byte, error) {
			return n.h.ask(ctx, n.id, m.ID, body)
		},
	})
}

func (h *house) random() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seed = h.seed*6364136223846793005 + 1442695040888963407
	return h.seed >> 16
}

var errDown = errors.New("it is down")

func (h *house) ask(_ context.Context, from, to ring.NodeID, body []byte) ([]byte, error) {
	var r Request
	if err := r.Decode(body); err != nil {
		return nil, err
	}
	h.mu.Lock()
	down, before, n := h.down[from] || h.down[to], h.before, h.nodes[to]
	h.mu.Unlock()
	if down {
		return nil, errDown
	}
	if before != nil {
		if err := before(from, to, &r); err != nil {
			return nil, err
		}
	}
	return n.acceptor.Handle(body)
}

func (h *house) setDown(ids ...ring.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = make(map[ring.NodeID]bool)
	for _, id := range ids {
		h.down[id] = true
	}
}

func (h *house) setBefore(f func(from, to ring.NodeID, r *Request) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

// newHouse has so many nodes in one ring, and one more that is in none.
func newHouse(t *testing.T, members int) *house {
	h := &house{t: t, nodes: make(map[ring.NodeID]*houseNode)}
	var list []ring.Member
	for i := range members + 1 {
		n := &houseNode{h: h, id: ring.NodeID(i + 1), incarnation: uint64(i+1) * 100}
		h.nodes[n.id] = n
		n.restart()
		if i < members {
			list = append(list, n.member())
		}
	}
	first := build(t, nil, list...)
	for _, n := range h.nodes {
		if err := n.adopt(first); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range h.nodes {
			n.proposer.Close()
		}
	})
	return h
}

func (n *houseNode) member() ring.Member {
	return ring.Member{ID: n.id, Incarnation: n.incarnation, Name: fmt.Sprint("n", uint64(n.id)), Weight: 1}
}

// heavier adds one to what a member weighs.
func heavier(t *testing.T, id ring.NodeID) func(*ring.Ring) (*ring.Ring, error) {
	return func(r *ring.Ring) (*ring.Ring, error) {
		members := slices.Clone(r.Members)
		i, _ := r.Index(id)
		members[i].Weight++
		return build(t, r, members...), nil
	}
}

func with(t *testing.T, m ring.Member) func(*ring.Ring) (*ring.Ring, error) {
	return func(r *ring.Ring) (*ring.Ring, error) {
		if r.Member(m.ID) != nil {
			return r, nil
		}
		return build(t, r, append(slices.Clone(r.Members), m)...), nil
	}
}

// Many who change at once all get their way, once.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 5)
	const each = 8
	var wg sync.WaitGroup
	for id := ring.NodeID(1); id <= 5; id++ {
		wg.Go(func() {
			for range each {
				if _, err := h.nodes[id].proposer.Change(t.Context(), heavier(t, id)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, err := h.nodes[3].proposer.Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) { return r, nil })
	if err != nil || r.Epoch != 1+5*each {
		t.Fatalf("epoch %d, %v", r.Epoch, err)
	}
	for _, m := range r.Members {
		if m.Weight != 1+each {
			t.Errorf("%s weighs %v", m.Name, m.Weight)
		}
	}
}

// Of two operators one comes first; what the other wants is made of the winner's ring.
func TestTheLoserRunsOnTheWinnersRing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	runs := 0
	r, err := h.nodes[1].proposer.Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) {
		if runs++; runs == 1 {
			if _, err := h.nodes[2].proposer.Change(t.Context(), heavier(t, 2)); err != nil {
				return nil, err
			}
		}
		return heavier(t, 1)(r)
	})
	if err != nil || runs != 2 || r.Epoch != 3 || r.Member(1).Weight != 2 || r.Member(2).Weight != 2 {
		t.Fatalf("after %d runs %+v, %v", runs, r, err)
	}
	refused := errors.New("no")
	if _, err := h.nodes[1].proposer.Change(t.Context(), func(*ring.Ring) (*ring.Ring, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("its own refusal is %v", err)
	}
}

func TestWithoutAMajorityNothingChanges(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	h.setDown(2, 3)
	_, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1))
	var e *NoMajority
	if !errors.As(err, &e) || !errors.Is(err, ErrNoMajority) || e.Undecided || !slices.Equal(e.Missing, []string{"n2", "n3"}) ||
		err.Error() != "no majority of the ring's voters answers: of 3 voters n2, n3 are missing; nothing has changed (it is down)" {
		t.Errorf("%v", err)
	}
	h.setDown(3)
	if r, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1)); err != nil || r.Epoch != 2 {
		t.Error(err)
	}
	// Who was away is told when it takes part again.
	h.setDown(2)
	if r, err := h.nodes[3].proposer.Change(t.Context(), heavier(t, 1)); err != nil || r.Epoch != 3 || r.Member(1).Weight != 3 {
		t.Error(err)
	}
}

// A proposer dies at each of the steps; the next one completes what may have been chosen, and the
// acceptors are started again from their disks in between.
func TestAProposerThatDies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		dies func(to ring.NodeID, r *Request) bool
		done bool // its change is found by the next
	}{
		{"before it has asked", func(ring.NodeID, *Request) bool { return true }, false},
		{"when one has promised", func(to ring.NodeID, r *Request) bool { return to != 2 }, false},
		{"when it has all promises", func(to ring.NodeID, r *Request) bool { return r.Kind != Prepare }, false},
		{"when one has accepted", func(to ring.NodeID, r *Request) bool { return r.Kind == Learn || r.Kind == Accept && to != 2 }, true},
		{"when all have accepted", func(to ring.NodeID, r *Request) bool { return r.Kind == Learn }, true},
		{"when one knows", func(to ring.NodeID, r *Request) bool { return r.Kind == Learn && to != 3 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, 3)
			died := errors.New("died")
			h.setBefore(func(from, to ring.NodeID, r *Request) error {
				if from == 1 && c.dies(to, r) {
					return died
				}
				return nil
			})
			_, _ = h.nodes[1].proposer.Change(t.Context(), heavier(t, 1))
			h.setDown(1)
			for _, n := range h.nodes {
				n.proposer.Close()
			}
			for _, n := range h.nodes {
				n.restart()
			}
			r, err := h.nodes[2].proposer.Change(t.Context(), heavier(t, 2))
			if err != nil {
				t.Fatal(err)
			}
			if done := r.Member(1).Weight == 2; done != c.done || r.Member(2).Weight != 2 {
				t.Errorf("weights %v and %v", r.Member(1).Weight, r.Member(2).Weight)
			}
			h.setDown()
			h.setBefore(nil)
			again, err := h.nodes[1].proposer.Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) { return r, nil })
			if err != nil || again.Hash() != r.Hash() {
				t.Errorf("who died has another ring: %v", err)
			}
		})
	}
}

// A change whose proposer lost the majority in the middle says so, and may be completed; its
// proposer recognizes it then.
func TestAnUndecidedChangeIsFoundAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	lost := errors.New("lost")
	h.setBefore(func(_, to ring.NodeID, r *Request) error {
		if r.Kind == Accept && to != 1 {
			return lost
		}
		return nil
	})
	_, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1))
	if e := (*NoMajority)(nil); !errors.As(err, &e) || !e.Undecided || !strings.Contains(err.Error(), "may still take effect") {
		t.Fatal(err)
	}
	h.setBefore(nil)
	h.setDown(3) // so that the vote of 1 is heard
	if r, err := h.nodes[2].proposer.Change(t.Context(), heavier(t, 2)); err != nil || r.Member(1).Weight != 2 {
		t.Errorf("%v", err)
	}
}

// A ring is told to its own voters before those of the ring before are let go.
func TestVotersThatAreReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	two := h.nodes[2]
	h.setDown(2)
	r, err := h.nodes[1].proposer.Change(t.Context(), with(t, two.member()))
	if e := (*NoMajority)(nil); !errors.As(err, &e) || !e.Chosen || r == nil || r.Epoch != 2 {
		t.Fatalf("%v", err)
	}
	h.setDown()
	r, err = two.proposer.Change(t.Context(), nil)
	if !errors.Is(err, ErrNoRing) || r != nil {
		t.Fatal(err)
	}
	without := func(r *ring.Ring) (*ring.Ring, error) { return build(t, r, two.member()), nil }
	if r, err = h.nodes[1].proposer.Change(t.Context(), without); err != nil || r.Epoch != 3 {
		t.Fatal(err)
	}
	h.setDown(1)
	if r, err = two.proposer.Change(t.Context(), heavier(t, 2)); err != nil || r.Epoch != 4 {
		t.Fatal(err)
	}
}

// An acceptor that has lost its disk does not vote before the ring names its new life.
func TestALostVote(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	n := h.nodes[2]
	n.disk = nil
	n.incarnation++
	n.proposer.Close()
	n.restart()
	h.setDown(3)
	if _, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1)); !errors.Is(err, ErrNoMajority) ||
		!strings.Contains(err.Error(), "n2 votes again once the ring knows its new life") {
		t.Error(err)
	}
	h.setDown()
	if _, err := n.proposer.Change(t.Context(), func(r *ring.Ring) (*ring.Ring, error) {
		members := slices.Clone(r.Members)
		members[1].Incarnation = n.incarnation
		return build(t, r, members...), nil
	}); err != nil {
		t.Fatal(err)
	}
	h.setDown(3)
	if _, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1)); err != nil {
		t.Error(err)
	}
	// A later life on the same disk keeps the vote.
	n.incarnation++
	for _, n := range h.nodes {
		n.proposer.Close()
	}
	for _, n := range h.nodes {
		n.restart()
	}
	if _, err := h.nodes[1].proposer.Change(t.Context(), heavier(t, 1)); err != nil {
		t.Error(err)
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	p := h.nodes[1].proposer
	begun, ended := make(chan struct{}, 3), make(chan error, 1)
	h.setBefore(func(ring.NodeID, ring.NodeID, *Request) error {
		begun <- struct{}{}
		return errDown
	})
	go func() {
		_, err := p.Change(t.Context(), heavier(t, 1))
		ended <- err
	}()
	<-begun
	p.Close()
	if err := <-ended; err == nil {
		t.Error("it went through")
	}
	if _, err := p.Change(t.Context(), heavier(t, 1)); err == nil {
		t.Error("changed after Close")
	}
}

// Who has not answered yet when too many are lost is not called missing.
func TestMissingAreThoseLost(t *testing.T) {
	r := &round{}
	r.ask(Prepare, []ring.NodeID{1, 2, 3, 4})
	if r.lost(3) != waiting {
		t.Error("three of four could still say Yes")
	}
	if got := r.missing(); !slices.Equal(got, []ring.NodeID{1, 2, 3, 4}) {
		t.Errorf("nobody has said Yes, and missing are %v", got)
	}
	if r.lost(4) != hopeless {
		t.Error("two of four are no majority")
	}
	if got := r.missing(); !slices.Equal(got, []ring.NodeID{3, 4}) {
		t.Errorf("n3 and n4 are lost, and missing are %v", got)
	}
}
