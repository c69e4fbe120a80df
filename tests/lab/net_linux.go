package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxHosts bounds the hosts of a network, the program's own included.
const maxHosts = 16

// frameSize holds the largest frame: mtu and its header.
const (
	mtu       = 9000
	frameSize = mtu + 64
)

// Rule is what happens to frames from one host to another. The zero Rule delivers
// them at once.
type Rule struct {
	Cut           bool
	Loss          float64 // the share that is lost, 0 to 1
	Delay, Jitter time.Duration
}

// Net is a network.
type Net struct {
	// Here is the host of the program itself.
	Here *Host

	rules [maxHosts][maxHosts]atomic.Pointer[Rule]
	sent  [maxHosts][maxHosts]atomic.Int64  // bytes of frames, those that were lost too
	ports [maxHosts]atomic.Pointer[os.File] // a host's end of its cable

	mu    sync.Mutex
	hosts []*Host // guarded by mu; Here is the first
	wg    sync.WaitGroup
}

// New makes a network with this program as its only host. The program must be
// inside: see Enter.
func New() (*Net, error) {
	n := &Net{}
	if os.Getenv(insideVariable) == "" {
		return nil, errors.New("make a network: the program has not called Enter")
	}
	var err error
	n.Here, err = n.Add()
	return n, err
}

// Add makes one more host.
func (n *Net) Add() (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	index := len(n.hosts)
	if index == maxHosts {
		return nil, fmt.Errorf("a network has at most %d hosts", maxHosts)
	}
	h, err := newHost(index)
	if err != nil {
		return nil, fmt.Errorf("make host %d: %w", index, err)
	}
	n.hosts = append(n.hosts, h)
	n.ports[index].Store(h.tap)
	n.wg.Go(func() { n.forward(h) })
	return h, nil
}

// Set makes the rule for what one host sends to another.
func (n *Net) Set(from, to *Host, r Rule) { n.rules[from.index][to.index].Store(&r) }

// Both is Set for both directions.
func (n *Net) Both(a, b *Host, r Rule) {
	n.Set(a, b, r)
	n.Set(b, a, r)
}

// Around is Both for a host and all others.
func (n *Net) Around(h *Host, r Rule) {
	for _, other := range n.all() {
		if other != h {
			n.Both(h, other, r)
		}
	}
}

// Sent returns how many bytes one host has sent to another, what got lost included.
func (n *Net) Sent(from, to *Host) int64 { return n.sent[from.index][to.index].Load() }

// Heal removes all rules.
func (n *Net) Heal() {
	for i := range n.rules {
		for j := range n.rules[i] {
			n.rules[i][j].Store(nil)
		}
	}
}

func (n *Net) all() []*Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hosts)
}

// Close removes the hosts; their servers must have ended.
func (n *Net) Close() {
	for _, h := range n.all() {
		h.close()
	}
	n.wg.Wait()
}

// forward is the goroutine that reads what a host sends, until its device is closed.
func (n *Net) forward(from *Host) {
	frame := make([]byte, frameSize)
	var lines [maxHosts]chan delayed // to each host, as soon as one is needed
	defer func() {
		for _, line := range lines {
			if line != nil {
				close(line)
			}
		}
	}()
	for {
		size, err := from.tap.Read(frame)
		if err != nil {
			return
		}
		if size < 14 {
			continue // no frame
		}
		if frame[0] == macPrefix { // else it is for a group, which nobody here listens to
			n.deliver(from.index, int(frame[5]), frame[:size], &lines)
		}
	}
}

// deliver keeps frame only during the call. What is delayed by a jitter may overtake.
func (n *Net) deliver(from, to int, frame []byte, lines *[maxHosts]chan delayed) {
	if to >= maxHosts {
		return
	}
	n.sent[from][to].Add(int64(len(frame)))
	r := n.rules[from][to].Load()
	if r == nil {
		n.write(to, frame)
		return
	}
	if r.Cut || r.Loss > 0 && rand.Float64() < r.Loss {
		return
	}
	if r.Delay+r.Jitter == 0 {
		n.write(to, frame)
		return
	}
	late := slices.Clone(frame)
	if r.Jitter > 0 {
		time.AfterFunc(r.Delay+rand.N(r.Jitter+1), func() { n.write(to, late) })
		return
	}
	if lines[to] == nil {
		line := make(chan delayed, lineFrames)
		lines[to] = line
		n.wg.Go(func() { n.carry(to, line) })
	}
	select {
	case lines[to] <- delayed{time.Now().Add(r.Delay), late}:
	default: // the line is full, and loses it
	}
}

// lineFrames is how many frames are on a long line at most.
const lineFrames = 8192

// delayed is a frame on a long line.
type delayed struct {
	due   time.Time
	frame []byte
}

// carry delivers what a long line carries, in the order in which it was sent, until the
// line is closed.
func (n *Net) carry(to int, line <-chan delayed) {
	for d := range line {
		time.Sleep(time.Until(d.due))
		n.write(to, d.frame)
	}
}

// write hands a frame to a host. One that takes no more loses it, as on any wire.
func (n *Net) write(to int, frame []byte) {
	if port := n.ports[to].Load(); port != nil {
		_, _ = port.Write(frame)
	}
}
