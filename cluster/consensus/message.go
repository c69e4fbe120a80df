package consensus

import (
	"errors"
	"fmt"

	"kvstore/cluster/ring"
)

// Kind is what a Request asks for. The values travel.
type Kind uint8

const (
	// Prepare asks for the promise to take part in no attempt before Ballot. It has no ring.
	Prepare Kind = 1
	// Accept asks to vote for Ring, in the attempt Ballot.
	Accept Kind = 2
	// Learn tells that Ring has been chosen. Base and Ballot are zero.
	Learn Kind = 3
)

// Request is what a proposer sends to an acceptor:
//
//	kind 1 | flags 1 | base: generation 8, epoch 8, hash 8 | ballot: counter 8, node 8 | ring (the rest, maybe nothing)
//
// Integers are big endian; flag 1 is Forced, and the others are zero.
type Request struct {
	Kind   Kind
	Forced bool // the majority is lost for good: the acceptor votes though the ring does not know its life
	Base   Base
	Ballot Ballot
	Ring   *ring.Ring
}

// Verdict is an acceptor's answer in a word. The values travel.
type Verdict uint8

const (
	// Yes: promised, accepted, or stored. What answers a Prepare has the ballot and the ring
	// that the acceptor has accepted last, if it has.
	Yes Verdict = 1
	// Outbid: the acceptor has promised to take part in no attempt before Ballot.
	Outbid Verdict = 2
	// Superseded: the acceptor knows that Ring, which is newer than the base, was chosen.
	Superseded Verdict = 3
	// Behind: the acceptor does not know the base yet. It has to learn that, and to be asked again.
	Behind Verdict = 4
	// NoVoter: the ring does not give this life of the acceptor a vote.
	NoVoter Verdict = 5
)

// Answer is what an acceptor says to a request:
//
//	verdict 1 | ballot: counter 8, node 8 | ring (the rest, maybe nothing)
type Answer struct {
	Verdict Verdict
	Ballot  Ballot
	Ring    *ring.Ring
}

const (
	requestHead = 2 + baseSize + ballotSize
	answerHead  = 1 + ballotSize
	flagForced  = 1
)

// ErrMessage is the class of requests and answers that cannot be read.
var ErrMessage = errors.New("malformed message of the register")

// IsLearn reports whether a request is a Learn, which needs no trust in who sends it to this node
// beyond that it is of the cluster: it asks for no vote.
func IsLearn(request []byte) bool { return len(request) > 0 && Kind(request[0]) == Learn }

// Encode returns the request's encoding.
func (r *Request) Encode() []byte {
	flags := byte(0)
	if r.Forced {
		flags = flagForced
	}
	return appendRing(r.Ballot.append(r.Base.append([]byte{byte(r.Kind), flags})), r.Ring)
}

// Decode reads what Encode returned.
func (r *Request) Decode(b []byte) (err error) {
	if len(b) < requestHead {
		return fmt.Errorf("%w: request of %d bytes", ErrMessage, len(b))
	}
	*r = Request{Kind: Kind(b[0]), Forced: b[1] == flagForced, Base: readBase(b[2:]), Ballot: readBallot(b[2+baseSize:])}
	if r.Kind < Prepare || r.Kind > Learn || b[1] > flagForced {
		return fmt.Errorf("%w: request of kind %d, flags %d", ErrMessage, b[0], b[1])
	}
	if r.Ring, err = readRing(b[requestHead:]); err != nil {
		return err
	}
	if (r.Ring == nil) != (r.Kind == Prepare) {
		return fmt.Errorf("%w: request of kind %d with %d bytes of a ring", ErrMessage, b[0], len(b)-requestHead)
	}
	return nil
}

// Encode returns the answer's encoding.
func (a *Answer) Encode() []byte {
	return appendRing(a.Ballot.append([]byte{byte(a.Verdict)}), a.Ring)
}

// Decode reads what Encode returned.
func (a *Answer) Decode(b []byte) (err error) {
	if len(b) < answerHead {
		return fmt.Errorf("%w: answer of %d bytes", ErrMessage, len(b))
	}
	*a = Answer{Verdict: Verdict(b[0]), Ballot: readBallot(b[1:])}
	if a.Verdict < Yes || a.Verdict > NoVoter {
		return fmt.Errorf("%w: verdict %d", ErrMessage, b[0])
	}
	if a.Ring, err = readRing(b[answerHead:]); err != nil {
		return err
	}
	if a.Verdict == Superseded && a.Ring == nil {
		return fmt.Errorf("%w: superseded by no ring", ErrMessage)
	}
	return nil
}

func appendRing(dst []byte, r *ring.Ring) []byte {
	if r == nil {
		return dst
	}
	return r.Append(dst)
}

func readRing(b []byte) (*ring.Ring, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r, err := ring.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return r, nil
}
