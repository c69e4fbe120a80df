package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"

	"kvstore/cluster/ring"
)

// Store keeps an acceptor's state.
type Store interface {
	// Load returns what Save stored last, nil when there is nothing.
	Load() ([]byte, error)
	// Save replaces the state. After any crash either the old or the new one is there, and
	// the new one once it has returned nil.
	Save(state []byte) error
}

// AcceptorOptions configure an Acceptor. All are required.
type AcceptorOptions struct {
	Self ring.NodeID
	// Incarnation is that of the node's present life.
	Incarnation uint64
	Store       Store
	// Ring returns the ring that the node has adopted, nil when it has none.
	Ring func() *ring.Ring
	// Adopt makes a ring that has been chosen the node's, durably, if it is newer than what
	// the node has.
	Adopt func(*ring.Ring) error
}

// Acceptor is a node's vote. Its methods may be called concurrently.
type Acceptor struct {
	o  AcceptorOptions
	mu sync.Mutex // held while the state is stored
	// state is what is stored; guarded by mu.
	state state
}

// state is what an acceptor has promised and accepted:
//
//	version 1 byte (1) | life 8 | base 24 | promised 16 | accepted 16 | ring (maybe nothing) | xxhash64 of all before 8
//
// with base, ballots and ring as in a Request.
type state struct {
	life     uint64 // the incarnation in which it votes, as the ring says
	base     Base   // the ring whose successor all below is about
	promised Ballot
	accepted Ballot // zero: nothing
	ring     *ring.Ring
}

const (
	stateVersion = 1
	stateHead    = 1 + 8 + baseSize + 2*ballotSize
)

// ErrState says that the stored state cannot be read.
var ErrState = errors.New("state of the acceptor is damaged")

func (s *state) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{stateVersion}, s.life)
	b = appendRing(s.accepted.append(s.promised.append(s.base.append(b))), s.ring)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

func (s *state) decode(b []byte) (err error) {
	if len(b) < stateHead+8 || b[0] != stateVersion {
		return fmt.Errorf("%w: %d bytes", ErrState, len(b))
	}
	body := b[:len(b)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return fmt.Errorf("%w: checksum", ErrState)
	}
	*s = state{life: binary.BigEndian.Uint64(b[1:]), base: readBase(b[9:]),
		promised: readBallot(b[9+baseSize:]), accepted: readBallot(b[9+baseSize+ballotSize:])}
	if s.ring, err = readRing(body[stateHead:]); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// NewAcceptor loads the state. Before the first state is stored, which Adopting does at
// the latest, the acceptor has voted for nothing.
func NewAcceptor(o AcceptorOptions) (a *Acceptor, fresh bool, err error) {
	a = &Acceptor{o: o}
	b, err := o.Store.Load()
	if err != nil {
		return nil, false, err
	}
	if len(b) == 0 {
		return a, true, nil
	}
	return a, false, a.state.decode(b)
}

// Adopting is called before the node stores a ring as its own. The vote that this ring
// gives the node is of the life that the ring names; if that is the present one, later
// lives have it too, as long as they find the state.
func (a *Acceptor) Adopting(r *ring.Ring) error {
	m := r.Member(a.o.Self)
	if m == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.life == m.Incarnation || m.Incarnation != a.o.Incarnation {
		return nil
	}
	next := a.state
	next.life = m.Incarnation
	return a.save(next)
}

// Inherit gives a fresh acceptor the vote of an earlier life, which has never voted.
func (a *Acceptor) Inherit(life uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.save(state{life: life})
}

// save stores a state, which holds once it is on disk. The caller holds mu.
func (a *Acceptor) save(next state) error {
	if err := a.o.Store.Save(next.encode()); err != nil {
		return err
	}
	a.state = next
	return nil
}

// Handle answers an encoded Request with an encoded Answer. What it promises or accepts is
// stored when it returns. An error says that the request cannot be read, or that nothing
// can be stored.
func (a *Acceptor) Handle(body []byte) ([]byte, error) {
	var r Request
	if err := r.Decode(body); err != nil {
		return nil, err
	}
	answer, err := a.answer(&r)
	if err != nil {
		return nil, err
	}
	return answer.Encode(), nil
}

func (a *Acceptor) answer(r *Request) (*Answer, error) {
	own := a.o.Ring()
	if own != nil && r.Ring != nil && own.ClusterID != r.Ring.ClusterID {
		return nil, fmt.Errorf("%w: ring of cluster %016x, this is %016x", ErrMessage, r.Ring.ClusterID, own.ClusterID)
	}
	if r.Kind == Learn {
		if own != nil && own.NewerThan(r.Ring) {
			return &Answer{Verdict: Superseded, Ring: own}, nil
		}
		if own != nil && !r.Ring.NewerThan(own) && r.Ring.Hash() != own.Hash() {
			return nil, errTwo(own)
		}
		if err := a.o.Adopt(r.Ring); err != nil {
			return nil, err
		}
		return &Answer{Verdict: Yes}, nil
	}
	if own == nil {
		return &Answer{Verdict: Behind}, nil
	}
	has := BaseOf(own)
	switch c := has.compare(r.Base); {
	case c > 0:
		return &Answer{Verdict: Superseded, Ring: own}, nil
	case c < 0:
		return &Answer{Verdict: Behind}, nil
	case has != r.Base:
		return nil, errTwo(own)
	case r.Kind == Accept && !follows(r.Ring, own):
		return nil, fmt.Errorf("%w: a ring of generation %d, epoch %d cannot follow one of %d, %d",
			ErrMessage, r.Ring.Generation, r.Ring.Epoch, own.Generation, own.Epoch)
	}
	return a.vote(r, own)
}

// follows reports whether a ring may be decided on as the successor of another. One that was
// forced begins a generation.
func follows(next, base *ring.Ring) bool {
	return next.Generation > base.Generation || next.Generation == base.Generation && next.Epoch == base.Epoch+1
}

func errTwo(r *ring.Ring) error {
	return fmt.Errorf("there are two rings of generation %d, epoch %d: the cluster was recovered by force on both sides of a split; empty the directories of one side", r.Generation, r.Epoch)
}

// vote promises or accepts what own, the base of the request, has the acceptor decide.
func (a *Acceptor) vote(r *Request, own *ring.Ring) (*Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	switch c := s.base.compare(r.Base); {
	case c > 0: // the node has adopted a newer ring since it was looked at
		return nil, fmt.Errorf("the ring of epoch %d is decided", s.base.Epoch)
	case s.base != r.Base:
		s = state{life: s.life, base: r.Base}
	}
	m := own.Member(a.o.Self)
	if !r.Forced && (m == nil || m.Incarnation != a.o.Incarnation && m.Incarnation != s.life) {
		return &Answer{Verdict: NoVoter}, nil
	}
	if r.Ballot.Less(s.promised) || r.Kind == Prepare && r.Ballot == s.promised {
		return &Answer{Verdict: Outbid, Ballot: s.promised}, nil
	}
	answer := &Answer{Verdict: Yes}
	s.promised = r.Ballot
	if r.Kind == Prepare {
		answer.Ballot, answer.Ring = s.accepted, s.ring
	} else {
		s.accepted, s.ring = r.Ballot, r.Ring
	}
	if err := a.save(s); err != nil {
		return nil, err
	}
	return answer, nil
}
