package server

import (
	"io"
	"strings"
	"testing"
	"time"

	"kvstore/resp"
)

// When connections buffer more than they may together, requests are refused at once,
// the connection in the middle of a large command is closed, and all is as before
// when the load is gone.
func TestOverload(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		o.MaxBuffered = 4 << 20
		s := serve(t, newFake(), o)
		overloaded := "-" + resp.ErrTextOverloaded + "\r\n"
		c := dial(t, s)
		c.ask(cmd("SET", "a", "1"), "+OK\r\n")
		var senders []*client
		for range 4 { // each is in the middle of a command of 8 MiB
			d := dial(t, s)
			senders = append(senders, d)
			go io.WriteString(d, "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$8388608\r\n"+strings.Repeat("v", 2<<20))
		}
		closed := 0
		deadline := time.Now().Add(10 * time.Second)
		for closed == 0 && time.Now().Before(deadline) {
			s.mu.Lock()
			closed = 1 + len(senders) - len(s.sessions)
			s.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		if got := s.Buffered(); closed == 0 || got > int64(o.MaxBuffered)+4<<20 {
			t.Errorf("%d connections were closed, %d bytes are buffered", closed, got)
		}
		s.buffered.Add(int64(o.MaxBuffered)) // whatever is left of them
		c.ask(cmd("GET", "a"), overloaded)
		c.ask(cmd("SET", "a", "2"), overloaded)
		c.ask("PING\r\n", "+PONG\r\n")
		s.buffered.Add(-int64(o.MaxBuffered))
		for _, d := range senders {
			d.Close()
		}
		for s.Buffered() != 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if got := s.Buffered(); got != 0 {
			t.Errorf("%d bytes are buffered afterwards", got)
		}
		c.ask(cmd("GET", "a"), "$1\r\n1\r\n")
	})
}

// Replies that wait behind another one count as what the client has not read.
func TestParkedRepliesCount(t *testing.T) {
	var p pipeline
	first := p.push(slot{kind: slotRead})
	p.push(slot{done: true, text: &buffer{b: make([]byte, 100)}})
	second := p.push(slot{kind: slotRead, call: newCall()})
	if p.held != 100 {
		t.Errorf("%d bytes held", p.held)
	}
	p.at(second).call.Out = make([]byte, 1000)
	p.finish(second)
	if p.held != 1100 {
		t.Errorf("%d bytes held", p.held)
	}
	p.finish(first)
	for range 3 {
		if _, ok := p.pop(); !ok {
			t.Fatal("a slot is not done")
		}
	}
	if p.held != 0 {
		t.Errorf("%d bytes held in the end", p.held)
	}
}
