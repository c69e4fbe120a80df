package server

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"kvstore/server/command"
)

// Every error reply is counted once, by its first word, wherever it came from:
// the parser, the table, a command, or a key that is served elsewhere.
func TestErrorRepliesAreCountedByTheirCode(t *testing.T) {
	elsewhere := func(key []byte) (int, string) {
		if string(key) == "far" {
			return 7, "h:1"
		}
		return 7, ""
	}
	s, p := open(t, newFake(), Options{Redirect: elsewhere, Env: &command.Env{}})
	p.send(cmd("NOPE") + cmd("GET") + cmd("GET", "k") + cmd("SET", "k", "v", "XX", "NX"))
	p.send(cmd("GET", "far") + cmd("QUORUM", "CALL", "many", "-", "GET", "k") + cmd("HELLO", "9"))
	p.send("*x\r\n")
	want := map[string]int64{"ERR": 5, "MOVED": 1, "NOPROTO": 1}
	if got := s.stats.Failures(); !maps.Equal(got, want) || s.stats.Errors.Load() != 7 {
		t.Errorf("%v and %d in all, want %v", got, s.stats.Errors.Load(), want)
	}
}

// Keys that are served elsewhere, alone and several, and what ASKING does to them.
func TestKeysServedElsewhere(t *testing.T) {
	elsewhere := func(key []byte) (int, string) {
		slot := int(key[len(key)-1] - '0')
		if strings.HasPrefix(string(key), "far") {
			return slot, "h:1"
		}
		return slot, ""
	}
	moved := func(slot int) string { return fmt.Sprintf("-MOVED %d h:1\r\n", slot) }
	for _, c := range []struct{ send, want string }{
		{cmd("GET", "near1"), "$-1\r\n"},
		{cmd("GET", "far1"), moved(1)},
		{cmd("MGET", "far1", "far1"), moved(1)},
		{cmd("MGET", "near1", "near2"), "*2\r\n$-1\r\n$-1\r\n"},
		{cmd("MGET", "far1", "far2"), crossSlot},
		{cmd("MGET", "near1", "near2", "far3"), crossSlot},
		{cmd("MGET", "far3", "near1"), crossSlot},
		{cmd("READONLY") + cmd("GET", "far1"), "+OK\r\n" + moved(1)},
		{cmd("ASKING") + cmd("GET", "far1") + cmd("GET", "far1"), "+OK\r\n$-1\r\n" + moved(1)},
		{cmd("ASKING") + cmd("MGET", "far1", "far2") + cmd("MGET", "far1", "far1"), "+OK\r\n*2\r\n$-1\r\n$-1\r\n" + moved(1)},
	} {
		_, p := open(t, newFake(), Options{Redirect: elsewhere, Env: &command.Env{}})
		if got := p.send(c.send); got != c.want {
			t.Errorf("%q: %q, want %q", c.send, got, c.want)
		}
	}
}
