package main

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"kvstore/tests/lab"
)

const (
	clientCount = 32
	dialWithin  = 500 * time.Millisecond
	replyWithin = 2 * time.Second
)

// requester sends one request and returns the reply; an error stands for every failure,
// error replies too.
type requester interface {
	do(args ...string) (lab.Reply, error)
	close()
}

// sample is one request: when it was due, since the work began, and how long after that
// it had its reply.
type sample struct{ due, took time.Duration }

// worker is one client at work.
type worker struct {
	number int
	to     requester
	every  time.Duration
	begun  time.Time
	keys   *ledger
	draw   *rand.Rand

	samples []sample
	failed  []sample // requests with errors; they are not among samples
	texts   map[string]int
	stale   int
	broken  error // a value that cannot be
}

// crew is all clients.
type crew struct {
	begun   time.Time
	workers []*worker
	stop    chan struct{} // closed by finish
	wg      sync.WaitGroup
}

// employ starts clients that send rate requests a second together.
func employ(newClient func(number int) requester, keys *ledger, rate int) *crew {
	c := &crew{begun: time.Now(), stop: make(chan struct{})}
	for i := range clientCount {
		w := &worker{
			number: i, to: newClient(i), every: clientCount * time.Second / time.Duration(rate), begun: c.begun, keys: keys,
			draw: rand.New(rand.NewPCG(uint64(i), 1)), texts: map[string]int{},
		}
		c.workers = append(c.workers, w)
		c.wg.Go(func() { w.run(c.stop) })
	}
	return c
}

// now is the time since the work began.
func (c *crew) now() time.Duration { return time.Since(c.begun) }

// finish ends the work.
func (c *crew) finish() error {
	close(c.stop)
	c.wg.Wait()
	var errs []error
	for _, w := range c.workers {
		w.to.close()
		errs = append(errs, w.broken)
	}
	return errors.Join(errs...)
}

// run sends what is due, one request at a time. Clients are due in turns.
func (w *worker) run(stop <-chan struct{}) {
	due := w.every * time.Duration(w.number) / clientCount
	for timer := time.NewTimer(0); ; due += w.every {
		if early := due - time.Since(w.begun); early > 0 {
			timer.Reset(early)
			select {
			case <-stop:
				return
			case <-timer.C:
			}
		} else {
			select {
			case <-stop:
				return
			default:
			}
		}
		w.step(due)
	}
}

// step reads or writes one of the client's keys.
func (w *worker) step(due time.Duration) {
	mine := (len(w.keys.tried) - w.number + clientCount - 1) / clientCount
	n := w.number + clientCount*w.draw.IntN(mine)
	var err error
	if w.draw.IntN(2) == 0 {
		err = w.write(n)
	} else {
		err = w.read(n)
	}
	s := sample{due, time.Since(w.begun) - due}
	if err != nil {
		w.failed = append(w.failed, s)
		w.texts[short(err)]++
		return
	}
	w.samples = append(w.samples, s)
}

func (w *worker) write(n int) error {
	w.keys.tried[n]++
	version := w.keys.tried[n]
	_, err := w.to.do("set", keyOf(n), string(appendValue(nil, n, version)))
	if err == nil {
		w.keys.acknowledged[n] = version
	}
	return err
}

func (w *worker) read(n int) error {
	reply, err := w.to.do("get", keyOf(n))
	if err != nil {
		return err
	}
	v, err := w.keys.judge(n, reply.Text, !reply.Nil)
	if err != nil {
		w.broken = errors.Join(w.broken, err)
	}
	if v != right {
		w.stale++
	}
	return nil
}

// short is the kind of an error, for counting.
func short(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && !strings.ContainsAny(text[:1], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return text[i+2:]
	}
	word, _, _ := strings.Cut(text, " ")
	return word
}

// texts counts the errors of all by their kind.
func (c *crew) texts() map[string]int {
	all := map[string]int{}
	for _, w := range c.workers {
		for text, n := range w.texts {
			all[text] += n
		}
	}
	return all
}

func (c *crew) stale() (n int) {
	for _, w := range c.workers {
		n += w.stale
	}
	return n
}

// window is a time of the work.
type window struct{ from, to time.Duration }

func (w window) length() time.Duration { return w.to - w.from }

// latencies is what clients met with in some time.
type latencies struct {
	count, errors       int
	p50, p99, p999, max time.Duration
}

// during returns what came of the requests that were due in windows. The work has ended.
func (c *crew) during(windows ...window) (l latencies) {
	var took []time.Duration
	inside := func(s sample) bool {
		return slices.ContainsFunc(windows, func(w window) bool { return s.due >= w.from && s.due < w.to })
	}
	for _, w := range c.workers {
		for _, s := range w.samples {
			if inside(s) {
				took = append(took, s.took)
			}
		}
		for _, s := range w.failed {
			if inside(s) {
				l.errors++
			}
		}
	}
	slices.Sort(took)
	l.count = len(took)
	l.p50, l.p99, l.p999, l.max = quantile(took, 0.5), quantile(took, 0.99), quantile(took, 0.999), quantile(took, 1)
	return l
}

// quantile returns the least of sorted values that so large a part of them does not exceed.
func quantile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// secondly returns the p99 of each second of a window.
func (c *crew) secondly(w window) (out []time.Duration) {
	for at := w.from; at < w.to; at += time.Second {
		out = append(out, c.during(window{at, min(at+time.Second, w.to)}).p99)
	}
	return out
}

// sortedTexts lists errors for people.
func sortedTexts(texts map[string]int) []string { return slices.Sorted(maps.Keys(texts)) }
