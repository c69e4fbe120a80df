package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/membership"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/cluster/wire"
)

// The services nodes offer each other beside requests on keys. Values travel and
// must not change.
const (
	methodJoin uint8 = 1 // body: a membership.Meta; answer: the ring
	// 2 to 4 were of the release before
	methodRing     uint8 = 5  // answer: the ring
	methodScan     uint8 = 6  // see scan.go
	methodCount    uint8 = 7  // see count.go
	methodFlush    uint8 = 8  // see flush.go
	methodFlushed  uint8 = 9  // see flush.go
	methodHandoff  uint8 = 10 // body: a batch of package hint; answer: its Answer
	methodHints    uint8 = 11 // see hints.go
	methodStrained uint8 = 12 // see load.go; nobody waits for the answer
	methodEntropy  uint8 = 13 // see package antientropy
	methodParting  uint8 = 14 // the caller leaves; answer: empty
	methodPlace    uint8 = 15 // see place.go
	methodPaxos    uint8 = 16 // body: a request of package consensus; answer: its answer
	methodApply    uint8 = 17 // as methodJoin; the node is to hold nothing before somebody commits to it
	methodFreeze   uint8 = 18 // see freeze.go
	methodThaw     uint8 = 19 // see freeze.go
	methodBarrier  uint8 = 20 // see barrier.go
	methodReport   uint8 = 21 // see report.go
	methodHot      uint8 = 22 // answer: a hot.Report of what the node's own clients ask for
)

// maxServing bounds the services under way at a node; what comes beyond is
// answered Overloaded.
const maxServing = 256

// calls are the services this node waits for, and those it serves.
type calls struct {
	mu      sync.Mutex
	closed  bool               // guarded by mu
	lastID  uint64             // guarded by mu
	waiting map[uint64]waiting // guarded by mu
	serving chan struct{}      // holds a token for each service under way
}

// waiting is a call under way.
type waiting struct {
	to     ring.NodeID
	answer chan<- wire.Message // of capacity 1; takes the answer, or is closed when none will come
}

func (c *calls) init() {
	c.waiting = make(map[uint64]waiting)
	c.serving = make(chan struct{}, maxServing)
}

// close refuses further services.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// receive hands an answer to who waits for it.
func (c *calls) receive(m *wire.Message) {
	c.mu.Lock()
	w, waits := c.waiting[m.ID]
	delete(c.waiting, m.ID)
	c.mu.Unlock()
	if waits {
		w.answer <- wire.Message{Status: m.Status, Body: slices.Clone(m.Body)}
	}
}

// lost ends what waits for a node whose connection broke: it may be gone, and calls wait long.
func (c *calls) lost(id ring.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for call, w := range c.waiting {
		if w.to == id {
			delete(c.waiting, call)
			close(w.answer)
		}
	}
}

// remoteError is a service's refusal in the words of the node that gave it.
type remoteError struct {
	node   string
	status wire.Status
	text   string
}

func (e *remoteError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("node %s: %s", e.node, e.status)
	}
	return fmt.Sprintf("node %s: %s", e.node, e.text)
}

// errLost says that no answer of a service will come.
var errLost = errors.New("the connection was lost")

// call asks a member for a service and waits for the answer, as long as the member is connected.
func (n *Node) call(ctx context.Context, to ring.NodeID, method uint8, body []byte) ([]byte, error) {
	answer := make(chan wire.Message, 1)
	n.calls.mu.Lock()
	n.calls.lastID++
	id := n.calls.lastID
	n.calls.waiting[id] = waiting{to, answer}
	n.calls.mu.Unlock()
	defer func() {
		n.calls.mu.Lock()
		delete(n.calls.waiting, id)
		n.calls.mu.Unlock()
	}()
	m := wire.Message{Kind: wire.Control, ID: id, Method: method, Body: body, Now: int64(n.clock.Last()), Epoch: n.epoch()}
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = max(time.Until(deadline), 1)
	}
	if err := n.rpc.Send(to, rpc.Bulk, &m); err != nil {
		return nil, fmt.Errorf("ask node %s: %w", n.nameOf(to), err)
	}
	n.EndTurn()
	// Lost was told before this call was known, or it will be told.
	if !n.rpc.Connected(to) {
		return nil, fmt.Errorf("ask node %s: %w", n.nameOf(to), errLost)
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("ask node %s: %w", n.nameOf(to), errLost)
		}
		if reply.Status != wire.OK {
			return nil, &remoteError{n.nameOf(to), reply.Status, string(reply.Body)}
		}
		return reply.Body, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask node %s: %w", n.nameOf(to), ctx.Err())
	case <-n.ctx.Done():
		return nil, fmt.Errorf("ask node %s: %w", n.nameOf(to), n.ctx.Err())
	}
}

// defaultServe bounds a service whose caller gave no time.
const defaultServe = 10 * time.Second

// acceptCall serves a call on a goroutine of its own: services read much, write
// files and call others.
func (n *Node) acceptCall(from ring.NodeID, m *wire.Message) {
	reply := wire.Message{Kind: wire.ControlReply, ID: m.ID, Method: m.Method}
	if err := n.clock.Observe(hlc.Timestamp(m.Now)); err != nil {
		reply.Status, reply.Body = wire.Refused, []byte("the node's clock is ahead of the cluster's, check its time (NTP): "+err.Error())
		n.answer(from, &reply)
		return
	}
	select {
	case n.calls.serving <- struct{}{}:
	default:
		reply.Status = wire.Overloaded
		n.answer(from, &reply)
		return
	}
	method, body, timeout := m.Method, slices.Clone(m.Body), m.Timeout
	if timeout <= 0 {
		timeout = defaultServe
	}
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if n.calls.closed {
		<-n.calls.serving
		return
	}
	n.wg.Go(func() {
		defer func() { <-n.calls.serving }()
		ctx, cancel := context.WithTimeout(n.ctx, timeout)
		defer cancel()
		out, err := n.serve(ctx, from, method, body)
		if err != nil {
			reply.Status, reply.Body = wire.Failed, []byte(err.Error())
			if errors.Is(err, ErrRefused) {
				reply.Status = wire.Refused
			}
		} else {
			reply.Body = out
		}
		n.answerOnceUp(from, &reply)
		n.EndTurn()
	})
}

// answer sends an answer, or reports that its caller cannot be reached.
func (n *Node) answer(to ring.NodeID, m *wire.Message) (sent bool) {
	m.Now, m.Epoch = int64(n.clock.Last()), n.epoch()
	return !errors.Is(n.rpc.Send(to, rpc.Bulk, m), rpc.ErrUnreachable)
}

// upWithin is how much later than its caller a node may learn that the connections
// between them stand.
const upWithin = 500 * time.Millisecond

// answerOnceUp sends an answer to a caller that may know sooner than this node that
// the connections between them stand. That it cannot be sent after that means that
// nobody waits for it.
func (n *Node) answerOnceUp(to ring.NodeID, m *wire.Message) {
	wait := time.Millisecond
	for until := time.Now().Add(upWithin); !n.answer(to, m) && time.Now().Before(until); wait *= 2 {
		select {
		case <-time.After(wait):
		case <-n.ctx.Done():
			return
		}
	}
}

// serve runs a service.
func (n *Node) serve(ctx context.Context, from ring.NodeID, method uint8, body []byte) ([]byte, error) {
	switch method {
	case methodJoin, methodApply:
		return n.serveJoin(ctx, from, method, body)
	case methodPaxos:
		return n.servePaxos(from, body)
	case methodFreeze:
		return nil, n.serveFreeze(from, body)
	case methodThaw:
		return nil, n.serveThaw(from, body)
	case methodRing:
		if r := n.ring.Load(); r != nil {
			return r.Encode(), nil
		}
		return nil, errors.New("the node has no ring yet")
	case methodScan:
		return n.serveScan(ctx, body)
	case methodCount:
		return n.serveCount(ctx, body)
	case methodFlush:
		if err := n.serveFlush(body); err != nil {
			return nil, err
		}
		return binary.BigEndian.AppendUint64(nil, uint64(coordinator.EpochOf(n.ring.Load()))), nil
	case methodEntropy:
		return n.entropy.Serve(ctx, from, body)
	case methodFlushed:
		return n.serveFlushed(), nil
	case methodHandoff:
		return n.serveHandoff(body)
	case methodReport:
		return n.serveReport(ctx, body), nil
	case methodHot:
		return n.HotHere().Append(nil), nil
	case methodHints:
		return n.serveHints(body)
	case methodStrained:
		return nil, n.serveStrained(body)
	case methodPlace:
		return n.servePlace(body)
	case methodBarrier:
		return n.serveBarrier(ctx, from, body)
	case methodParting:
		n.observe(from, membership.Parting)
		return nil, nil
	}
	return nil, fmt.Errorf("unknown service %d", method)
}
