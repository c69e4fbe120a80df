package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/ring"
	"kvstore/tests/lab"
)

const (
	clientCount = 5
	parts       = 6 // of the keys; see the comment of the program
	every       = time.Millisecond
	dialWithin  = 200 * time.Millisecond
	replyWithin = 500 * time.Millisecond
	slow        = 100 * time.Millisecond
	recent      = 64 // writes that a client reads
)

// requester sends one request and returns the reply; an error stands for every
// failure, error replies too.
type requester interface {
	do(args ...string) (lab.Reply, error)
	close()
	String() string // where it is connected
}

// measure is what clients met with.
type measure struct {
	requests, acknowledged, errors, slow, lost int
	writeGap, readGap                          time.Duration
	quietGap                                   time.Duration  // the longest before the fault, of reads and writes
	texts                                      map[string]int // errors by their text
	story                                      []event
}

// event is a request that took too long or failed.
type event struct {
	at     time.Time // when it began
	took   time.Duration
	client int
	what   string
}

func (m *measure) add(o measure) {
	m.requests, m.acknowledged, m.errors, m.slow = m.requests+o.requests, m.acknowledged+o.acknowledged, m.errors+o.errors, m.slow+o.slow
	m.writeGap, m.readGap = max(m.writeGap, o.writeGap), max(m.readGap, o.readGap)
	m.quietGap = max(m.quietGap, o.quietGap)
	if m.texts == nil {
		m.texts = map[string]int{}
	}
	for text, n := range o.texts {
		m.texts[text] += n
	}
	m.story = append(m.story, o.story...)
}

// worker is one client at work.
type worker struct {
	number int
	to     requester
	stop   chan struct{} // closed by finish
	fault  chan struct{} // closed by suffers
	wg     sync.WaitGroup

	m      measure
	keys   []string // acknowledged
	tags   [parts]string
	last   [2][parts]time.Time // success of a read, and of a write
	serial int
}

// work starts the clients.
func work(s system) (clients []*worker) {
	for i := range clientCount {
		c := &worker{number: i, to: s.newClient(i), stop: make(chan struct{}), fault: make(chan struct{}), tags: tagsOfParts()}
		c.m.texts = map[string]int{}
		clients = append(clients, c)
		c.wg.Go(c.run)
	}
	return clients
}

// tagsOfParts finds a hash tag for each part: one whose slot is in the middle of it.
func tagsOfParts() (tags [parts]string) {
	for i, found := 0, 0; found < parts; i++ {
		tag := fmt.Sprintf("part%d", i)
		at := int(ring.SlotOf([]byte(tag))) * parts
		part, middle := at/ring.Slots, at%ring.Slots
		if tags[part] == "" && middle > ring.Slots/4 && middle < ring.Slots*3/4 {
			tags[part] = tag
			found++
		}
	}
	return tags
}

// suffers tells the client that what comes is to be measured.
func (c *worker) suffers() { close(c.fault) }

// finish ends the client's work.
func (c *worker) finish() measure {
	close(c.stop)
	c.wg.Wait()
	c.to.close()
	return c.m
}

func (c *worker) run() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range c.last {
		for j := range c.last[i] {
			c.last[i][j] = time.Now()
		}
	}
	for fault := c.fault; ; {
		select {
		case <-fault:
			fault = nil
			c.m = measure{quietGap: max(c.m.writeGap, c.m.readGap), acknowledged: c.m.acknowledged, texts: map[string]int{}}
			continue
		case <-c.stop:
			for part := range parts {
				c.note(0, part, time.Now())
				c.note(1, part, time.Now())
			}
			return
		case <-tick.C:
		}
		c.step()
	}
}

// step is one request: a write, or a read of the last write of the same part.
func (c *worker) step() {
	turn := c.serial
	c.serial++
	part, write := turn/2%parts, turn%2 == 1
	key := fmt.Sprintf("{%s}:%d:%d", c.tags[part], c.number, turn/2)
	begun := time.Now()
	c.m.requests++
	var err error
	if write {
		_, err = c.to.do("set", key, key)
	} else {
		err = c.read(part)
	}
	now := time.Now()
	if took := now.Sub(begun); took > slow || err != nil {
		c.m.story = append(c.m.story, event{begun, took, c.number, c.describe(key, write, err)})
		if took > slow {
			c.m.slow++
		}
	}
	if err != nil {
		c.m.errors++
		c.m.texts[short(err)]++
		return
	}
	if kind := turn % 2; write {
		c.m.acknowledged++
		c.keys = append(c.keys, key)
		c.note(kind, part, now)
	} else {
		c.note(kind, part, now)
	}
}

func (c *worker) describe(key string, write bool, err error) string {
	what := "get"
	if write {
		what = "set"
	}
	if err != nil {
		return fmt.Sprintf("%s %s by %s: %v", what, key, c.to, err)
	}
	return fmt.Sprintf("%s %s by %s", what, key, c.to)
}

// read reads a recent write of the part.
func (c *worker) read(part int) error {
	want := fmt.Sprintf("{%s}:", c.tags[part])
	for i := len(c.keys) - 1; i >= max(0, len(c.keys)-recent); i-- {
		if key := c.keys[i]; strings.HasPrefix(key, want) {
			reply, err := c.to.do("get", key)
			if err == nil && reply.Text != key {
				return errors.New("an acknowledged write is not there")
			}
			return err
		}
	}
	_, err := c.to.do("get", want)
	return err
}

// note counts the time since the last success.
func (c *worker) note(kind, part int, now time.Time) {
	gap := now.Sub(c.last[kind][part])
	c.last[kind][part] = now
	if kind == 1 {
		c.m.writeGap = max(c.m.writeGap, gap)
	} else {
		c.m.readGap = max(c.m.readGap, gap)
	}
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

// verify counts the acknowledged writes that are not there.
func (m *measure) verify(s system, clients []*worker) error {
	for _, c := range clients {
		to := s.newClient(c.number)
		for _, key := range c.keys {
			reply, err := retry(to, "get", key)
			if err != nil {
				to.close()
				return fmt.Errorf("read %s at the end: %w", key, err)
			}
			if reply.Text != key {
				m.lost++
			}
		}
		to.close()
	}
	return nil
}

// retry repeats a read that fails.
func retry(to requester, args ...string) (reply lab.Reply, err error) {
	for range 50 {
		if reply, err = to.do(args...); err == nil {
			return reply, nil
		}
		time.Sleep(lab.Pause)
	}
	return reply, err
}
