package main

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"kvstore/cluster/ring"
	"kvstore/tests/lab"
)

// plain is a client of whichever node answers.
type plain struct{ lab.Client }

func newPlain(addresses []string, at int) *plain {
	return &plain{lab.Client{Addresses: addresses, At: at, DialWithin: dialWithin, ReplyWithin: replyWithin}}
}

func (p *plain) close() { p.Close() }

func (p *plain) do(args ...string) (lab.Reply, error) { return p.Do(args...) }

// slots is which server has which slot, as the clients of one program know it together. A
// goroutine asks for all of them when a client was sent elsewhere, at most every
// learnEvery, until close.
type slots struct {
	seeds []string
	wake  chan struct{} // one token when a client was sent elsewhere
	done  chan struct{} // closed by close
	wg    sync.WaitGroup

	mu     sync.Mutex
	server [ring.Slots]string // guarded by mu
}

const learnEvery = time.Second

func newSlots(seeds []string) (*slots, error) {
	s := &slots{seeds: seeds, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.learn(); err != nil {
		return nil, err
	}
	s.wg.Go(s.follow)
	return s, nil
}

func (s *slots) close() {
	close(s.done)
	s.wg.Wait()
}

func (s *slots) follow() {
	for {
		select {
		case <-s.done:
			return
		case <-s.wake:
			_ = s.learn() // the old map stays, and redirections tell what is wrong in it
		}
		select {
		case <-s.done:
			return
		case <-time.After(learnEvery):
		}
	}
}

// learn asks the first server that answers.
func (s *slots) learn() error {
	var errs []error
	for _, address := range s.seeds {
		reply, err := ask(address, "cluster", "slots")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.mu.Lock()
		for _, r := range reply.Items {
			first, _ := strconv.Atoi(r.Items[0].Text) // numbers, by the protocol
			last, _ := strconv.Atoi(r.Items[1].Text)
			for slot := first; slot <= last; slot++ {
				s.server[slot] = r.Items[2].Items[0].Text + ":" + r.Items[2].Items[1].Text
			}
		}
		s.mu.Unlock()
		return nil
	}
	return errors.Join(errs...)
}

// ask sends one command over a connection of its own.
func ask(address string, command ...string) (reply lab.Reply, err error) {
	c, err := lab.Dial(address, dialWithin)
	if err != nil {
		return reply, err
	}
	defer c.Close()
	if reply, err = c.Do(replyWithin, command...); err == nil && reply.Error {
		err = errors.New(reply.Text)
	}
	return reply, err
}

func (s *slots) of(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server[ring.SlotOf([]byte(key))]
}

// moved notes that a slot is elsewhere.
func (s *slots) moved(key, address string) {
	s.mu.Lock()
	s.server[ring.SlotOf([]byte(key))] = address
	s.mu.Unlock()
	s.again()
}

func (s *slots) again() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// routed is a client that sends each request to the server of its slot.
type routed struct {
	slots *slots
	conns map[string]*lab.Conn
}

func (c *routed) close() {
	for address := range c.conns {
		c.drop(address)
	}
}

func (c *routed) drop(address string) {
	if conn := c.conns[address]; conn != nil {
		conn.Close()
		delete(c.conns, address)
	}
}

// redirections bounds how often one request is sent elsewhere.
const redirections = 5

func (c *routed) do(args ...string) (reply lab.Reply, err error) {
	address, asking := c.slots.of(args[1]), false
	for range redirections {
		if asking {
			_, err = c.send(address, "asking")
		}
		if err == nil {
			reply, err = c.send(address, args...)
		}
		if err != nil {
			c.slots.again()
			return reply, err
		}
		asking = reply.Is("ASK")
		if !asking && !reply.Is("MOVED") {
			break
		}
		address = reply.Text[strings.LastIndexByte(reply.Text, ' ')+1:]
		if !asking {
			c.slots.moved(args[1], address)
		}
	}
	if reply.Error {
		err = errors.New(reply.Text)
	}
	return reply, err
}

func (c *routed) send(address string, args ...string) (reply lab.Reply, err error) {
	conn := c.conns[address]
	if conn == nil {
		if conn, err = lab.Dial(address, dialWithin); err != nil {
			return reply, err
		}
		c.conns[address] = conn
	}
	if reply, err = conn.Do(replyWithin, args...); err != nil {
		c.drop(address)
	}
	return reply, err
}
