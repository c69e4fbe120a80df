package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster/ring"
)

// Options configure a Proposer. All but Logger are required.
type Options struct {
	Self ring.NodeID
	// Ring returns the ring that the node has adopted, nil when it has none.
	Ring func() *ring.Ring
	// Adopt makes a ring that has been chosen the node's, as AcceptorOptions.Adopt.
	Adopt func(*ring.Ring) error
	// Ask brings a Request to a member's Acceptor.Handle, and its Answer back. The member may
	// be this node, and may be of a ring that nobody has adopted yet. Calls come from several
	// goroutines.
	Ask func(ctx context.Context, m *ring.Member, body []byte) ([]byte, error)
	// Random draws how long to wait after losing against another attempt.
	Random func() uint64
	Logger zerolog.Logger
}

// Proposer changes the register. Its methods may be called concurrently.
type Proposer struct {
	o      Options
	turn   chan struct{} // holds a token while this node has an attempt under way
	last   uint64        // the highest counter of a ballot seen; guarded by turn
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const (
	// askWithin bounds the wait for one member.
	askWithin = time.Second
	// waitLeast and waitMost bound the pause after an attempt that was outbid: an attempt takes
	// some milliseconds on a disk that syncs fast.
	waitLeast = 10 * time.Millisecond
	waitMost  = 640 * time.Millisecond
)

// ErrNoMajority is the class of NoMajority.
var ErrNoMajority = errors.New("no majority of the ring's voters answers")

// ErrNoRing says that the node has no ring to change.
var ErrNoRing = errors.New("the node is in no ring yet")

// NoMajority says who is missing. It wraps ErrNoMajority.
type NoMajority struct {
	Missing []string // names of voters
	Voters  int
	// Undecided: the change was proposed, and may be found and completed later. Otherwise nothing
	// has changed.
	Undecided bool
	// Chosen: the ring holds, but too few of its voters are known to have stored it.
	Chosen bool
	reason error // of one of those missing
}

// Error implements error.
func (e *NoMajority) Error() string {
	effect := "nothing has changed"
	switch {
	case e.Chosen:
		effect = "the change holds, but too few have stored it yet to do without those that had the ring before"
	case e.Undecided:
		effect = "the change may still take effect"
	}
	text := fmt.Sprintf("%v: of %d voters %s missing; %s", ErrNoMajority, e.Voters, nameAll(e.Missing), effect)
	if e.reason != nil {
		text += fmt.Sprintf(" (%v)", e.reason)
	}
	return text
}

func nameAll(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// Unwrap implements errors.Is.
func (e *NoMajority) Unwrap() error { return ErrNoMajority }

// NewProposer returns a Proposer, which Close ends.
func NewProposer(o Options) *Proposer {
	p := &Proposer{o: o, turn: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends what is under way, and waits for it. A Change that begins later is refused.
func (p *Proposer) Close() {
	p.cancel()
	p.turn <- struct{}{}
	p.wg.Wait()
	<-p.turn
}

// Change replaces the ring by what f makes of it, and returns the ring that was chosen. f gets
// the newest ring, and runs again when another change came first; it may also find its own
// effect there, when an attempt of its own was completed by another node. Nodes that make the
// very same ring of the same one share it. It returns the
// ring it was given when nothing is to change, which a majority has then confirmed to be the
// newest; an error of f ends Change. A ring with an error means that the ring was chosen and
// the error is what has not been done yet.
func (p *Proposer) Change(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	return p.change(ctx, nil, f)
}

// Force is Change without a majority, for when that is lost for good: all of the given members
// have to agree, and f has to make a ring of a higher generation. Members that are not given may
// have gone on by themselves; it is for f's ring to shut them out.
func (p *Proposer) Force(ctx context.Context, members []ring.NodeID, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	return p.change(ctx, members, f)
}

// attempt is a Change under way.
type attempt struct {
	*Proposer
	f     func(*ring.Ring) (*ring.Ring, error)
	among []ring.NodeID // nil: a majority
	mine  map[Base]bool // what this change has proposed
}

func (p *Proposer) change(ctx context.Context, among []ring.NodeID, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
		if p.ctx.Err() != nil {
			return nil, p.ctx.Err()
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another change: %w", ctx.Err())
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	a := attempt{Proposer: p, f: f, among: among, mine: make(map[Base]bool)}
	for wait := waitLeast; ; wait = min(2*wait, waitMost) {
		r, next, err := a.run(ctx)
		switch {
		case next == done:
			return r, err
		case next == atOnce:
			wait = waitLeast / 2
			continue
		}
		select {
		case <-time.After(wait + time.Duration(p.o.Random()%uint64(wait))):
		case <-ctx.Done():
			return nil, fmt.Errorf("others change the ring all the time: %w", ctx.Err())
		}
	}
}

// step is how a change goes on.
type step uint8

const (
	done step = iota
	atOnce
	later
)

// run makes one attempt.
func (a *attempt) run(ctx context.Context) (*ring.Ring, step, error) {
	base := a.o.Ring()
	if base == nil {
		return nil, done, ErrNoRing
	}
	if a.mine[BaseOf(base)] {
		return base, done, nil
	}
	a.last++
	ballot := Ballot{a.last, a.o.Self}
	rd := newRound(base, ballot)
	if a.among != nil {
		rd = newForced(base, ballot, a.among)
	}
	if next, err := a.pass(ctx, rd); next != done || err != nil {
		return nil, next, err
	}
	value, completes := rd.pending, rd.pending != nil && a.among == nil
	if !completes {
		from := base
		if value != nil {
			from = value // forced: what may have been chosen is kept
		}
		next, err := a.f(from)
		if err != nil || next == nil || next == base {
			return base, done, err
		}
		if value = next; !follows(value, base) {
			return nil, done, fmt.Errorf("a ring of generation %d, epoch %d cannot follow one of %d, %d", value.Generation, value.Epoch, base.Generation, base.Epoch)
		}
		a.mine[BaseOf(value)] = true
	}
	rd.propose(value)
	if next, err := a.pass(ctx, rd); next != done || err != nil {
		return nil, next, err
	}
	err := a.conclude(ctx, rd)
	if !a.mine[BaseOf(value)] {
		return nil, atOnce, nil
	}
	return value, done, err
}

// pass asks the voters of a round until it is agreed: done and no error.
func (a *attempt) pass(ctx context.Context, rd *round) (step, error) {
	out, reason := a.askAll(ctx, rd)
	a.last = max(a.last, rd.highest.Counter)
	switch out {
	case agreed:
		return done, nil
	case superseded:
		if err := a.o.Adopt(rd.newer); err != nil {
			return done, err
		}
		if own := a.o.Ring(); own == nil || !own.NewerThan(rd.base) {
			return done, fmt.Errorf("this node has no part in the ring of epoch %d", rd.newer.Epoch)
		}
		return atOnce, nil
	case outbid:
		return later, nil
	}
	if err := ctx.Err(); err != nil && errors.Is(reason, err) {
		reason = nil
	}
	return done, a.noMajority(rd, reason)
}

func (a *attempt) noMajority(rd *round, reason error) *NoMajority {
	e := &NoMajority{Voters: len(rd.voters), Undecided: rd.asking == Accept, Chosen: rd.asking == Learn, reason: reason}
	for _, id := range rd.missing() {
		e.Missing = append(e.Missing, nameIn(rd, id))
	}
	return e
}

// conclude adopts a ring that has been chosen and tells the members, of the ring before too. It
// returns when as many of its voters keep it as decide on the next one; then those that only the
// ring before had are not needed any more.
func (a *attempt) conclude(ctx context.Context, rd *round) error {
	rd.spread()
	out, adopted := waiting, a.o.Adopt(rd.value)
	if adopted == nil {
		out = rd.take(a.o.Self, &Answer{Verdict: Yes})
	} else {
		out = rd.lost(a.o.Self)
	}
	heard, reason := a.tell(ctx, rd)
	if out == waiting {
		out = heard
	}
	switch {
	case adopted != nil:
		return fmt.Errorf("adopt the ring of epoch %d, which is chosen: %w", rd.value.Epoch, adopted)
	case out != agreed:
		return a.noMajority(rd, reason)
	}
	return nil
}

// said is what one member said to a request.
type said struct {
	from   ring.NodeID
	answer Answer
	err    error
}

// askAll asks the voters of a round, and feeds it the answers until it has an outcome.
func (a *attempt) askAll(ctx context.Context, rd *round) (outcome, error) {
	within, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	members := make([]*ring.Member, 0, len(rd.voters))
	for _, id := range rd.voters {
		if m := rd.base.Member(id); m != nil {
			members = append(members, m)
		} else {
			rd.lost(id)
		}
	}
	return a.listen(ctx, rd, a.send(within, rd, members, func() {}), len(members))
}

// tell tells all members of the old and the new ring what was chosen. It goes on when enough
// have heard it.
func (a *attempt) tell(ctx context.Context, rd *round) (outcome, error) {
	var members []*ring.Member
	for _, r := range []*ring.Ring{rd.value, rd.base} {
		for i := range r.Members {
			m := &r.Members[i]
			if m.ID != a.o.Self && (r == rd.value || rd.value.Member(m.ID) == nil) {
				members = append(members, m)
			}
		}
	}
	within, cancel := context.WithTimeout(a.ctx, askWithin)
	return a.listen(ctx, rd, a.send(within, rd, members, cancel), len(members))
}

// send asks members what the round asks, each on a goroutine. ended is called when all have
// answered; the channel, which has room for all, is never closed.
func (a *attempt) send(ctx context.Context, rd *round, members []*ring.Member, ended func()) <-chan said {
	request := rd.request()
	body, base := request.Encode(), rd.base
	heard := make(chan said, len(members))
	var left sync.WaitGroup
	left.Add(len(members))
	for _, m := range members {
		a.wg.Go(func() {
			defer left.Done()
			answer, err := a.ask(ctx, m, base, body)
			heard <- said{m.ID, answer, err}
		})
	}
	a.wg.Go(func() {
		left.Wait()
		ended()
	})
	return heard
}

// listen feeds a round the answers of so many members until it has an outcome, with the reason of
// one that is missing.
func (a *attempt) listen(ctx context.Context, rd *round, heard <-chan said, members int) (outcome, error) {
	var reason error
	for range members {
		var s said
		select {
		case s = <-heard:
		case <-ctx.Done():
			return hopeless, ctx.Err()
		}
		out := waiting
		switch {
		case s.err != nil:
			reason = cmp.Or(reason, s.err)
			out = rd.lost(s.from)
		case s.answer.Verdict == NoVoter: // that tells more than that another one is away
			reason = fmt.Errorf("%s votes again once the ring knows its new life", nameIn(rd, s.from))
			fallthrough
		default:
			out = rd.take(s.from, &s.answer)
		}
		if out != waiting {
			return out, reason
		}
	}
	return hopeless, reason
}

// ask asks one member. One that does not know the base yet is told.
func (a *attempt) ask(ctx context.Context, m *ring.Member, base *ring.Ring, body []byte) (Answer, error) {
	answer, err := a.askOnce(ctx, m, body)
	if err != nil || answer.Verdict != Behind {
		return answer, err
	}
	learn := Request{Kind: Learn, Ring: base}
	if _, err := a.askOnce(ctx, m, learn.Encode()); err != nil {
		return answer, err
	}
	return a.askOnce(ctx, m, body)
}

func (a *attempt) askOnce(ctx context.Context, m *ring.Member, body []byte) (answer Answer, err error) {
	b, err := a.o.Ask(ctx, m, body)
	if err != nil {
		return answer, err
	}
	return answer, answer.Decode(b)
}

// nameIn returns the name of a member of a round's rings.
func nameIn(rd *round, id ring.NodeID) string {
	for _, r := range []*ring.Ring{rd.value, rd.base} {
		if r != nil && r.Member(id) != nil {
			return r.Member(id).Name
		}
	}
	return id.String()
}
