package server

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"kvstore/cluster/coordinator"
	"kvstore/server/command"
)

// fakeCluster is a map behind the interface of a node. By default requests
// complete inside Submit; with hold they wait until release lets them go, in
// any order and from any goroutine.
type fakeCluster struct {
	command.Topology // nil: no command of these tests asks

	mu    sync.Mutex
	data  map[string]*[]byte     // by database and key
	held  []*coordinator.Request // guarded by mu
	hold  func(r *coordinator.Request) bool
	came  chan struct{} // a token for each request held, if not nil
	turns int           // guarded by mu

	uncommitted bool          // EndTurn says no
	waiters     []func(error) // guarded by mu

	call coordinator.Call // guarded by mu
	key  []byte           // guarded by mu
}

func newFake() *fakeCluster { return &fakeCluster{data: map[string]*[]byte{}} }

func (f *fakeCluster) Submit(r *coordinator.Request) {
	f.mu.Lock()
	if f.hold != nil && (f.hold(r) || f.behind(r)) {
		// The rule for whoever keeps a request: copy what it points to.
		r.Key, r.Args = append([]byte{}, r.Key...), copyArgs(r.Args)
		f.held = append(f.held, r)
		came := f.came
		f.mu.Unlock()
		if came != nil {
			came <- struct{}{}
		}
		return
	}
	f.run(r)
	f.mu.Unlock()
	r.Owner.Complete(r)
}

// behind reports whether a request held is for the same key: those keep their
// order. mu is held.
func (f *fakeCluster) behind(r *coordinator.Request) bool {
	return slices.ContainsFunc(f.held, func(h *coordinator.Request) bool { return h.DB == r.DB && bytes.Equal(h.Key, r.Key) })
}

// run applies a request to the map; mu is held.
func (f *fakeCluster) run(r *coordinator.Request) {
	f.key = append(append(f.key[:0], r.DB), r.Key...)
	c := &f.call
	c.Reset()
	c.Args, c.Key, c.DB, c.Proto = r.Args, r.Key, r.DB, r.Proto
	c.Out = r.Out[:0]
	old := f.data[string(f.key)]
	if old != nil {
		c.Value, c.Exists = *old, true
	}
	r.Op.Run(c)
	put, removed, added, _, value, _, _ := c.Effect()
	switch {
	case put:
		if old == nil {
			old = new([]byte)
			f.data[string(f.key)] = old
		}
		*old = append((*old)[:0], value...)
	case removed:
		delete(f.data, string(f.key))
	case added:
		r.Err = errors.New("counters are not part of this fake")
	}
	r.Out, c.Out = c.Out, nil
}

// release completes the i-th held request.
func (f *fakeCluster) release(i int) {
	f.mu.Lock()
	r := f.held[i]
	f.held = append(f.held[:i], f.held[i+1:]...)
	f.run(r)
	f.mu.Unlock()
	r.Owner.Complete(r)
}

func (f *fakeCluster) waitingRequests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

func (f *fakeCluster) EndTurn() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turns++
	return !f.uncommitted
}

func (f *fakeCluster) OnCommitted(fn func(error)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.uncommitted {
		return true
	}
	f.waiters = append(f.waiters, fn)
	return false
}

func (f *fakeCluster) Replication() (int, coordinator.Levels) { return 3, coordinator.Levels{} }

// commit tells everybody who waits that the log is on disk, or is not.
func (f *fakeCluster) commit(err error) {
	f.mu.Lock()
	waiters := f.waiters
	f.waiters = nil
	f.mu.Unlock()
	for _, fn := range waiters {
		fn(err)
	}
}

type doneChan chan struct{}

func (d doneChan) Complete(*coordinator.Request) { close(d) }

func (f *fakeCluster) Do(ctx context.Context, r *coordinator.Request) error {
	done := make(doneChan)
	r.Owner = done
	f.Submit(r)
	select {
	case <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}
