package server

import (
	"testing"
	"time"

	"kvstore/resp"
)

// Limits hold from the moment they are changed, for clients that are there too.
func TestLimitsChangeWhileServing(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := serve(t, newFake(), o)
		a := dial(t, s)
		a.ask(cmd("GET", "a"), "$-1\r\n")
		s.SetMaxClients(1)
		if rest := dial(t, s).expectClosed(); string(rest) != "-"+resp.ErrTextMaxClients+"\r\n" {
			t.Errorf("%q", rest)
		}
		s.SetMaxClients(2)
		b := dial(t, s)
		b.ask(cmd("GET", "a"), "$-1\r\n")
		s.SetIdleTimeout(50 * time.Millisecond)
		a.expectClosed()
		b.expectClosed()
		s.SetIdleTimeout(0)
		c := dial(t, s)
		c.ask(cmd("GET", "a"), "$-1\r\n")
	})
}

func TestOutputLimitChanges(t *testing.T) {
	s, p := open(t, newFake(), Options{})
	p.pending = 1000
	p.send(cmd("GET", "a"))
	if p.aborted {
		t.Error("a thousand bytes were too many")
	}
	s.SetOutputLimit(999)
	p.send(cmd("GET", "a"))
	if !p.aborted {
		t.Error("a thousand bytes were not too many")
	}
}
