package server

import (
	"maps"
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
