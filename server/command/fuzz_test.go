package command

import (
	"slices"
	"strings"
	"testing"
)

// Whatever the arguments, a command has exactly one reply and does not panic.
func FuzzCommands(f *testing.F) {
	for _, call := range []string{
		"SET|k|v|EX|10|NX|GET", "GETEX|k|PXAT|1", "SETRANGE|k|5|xyz", "GETRANGE|k|-1|9223372036854775807", "INCRBY|k|-5", "INCRBYFLOAT|k|1e300",
		"EXPIRE|k|10|XX|GT", "COPY|k|l|DB|1|REPLACE", "SCAN|0|MATCH|[a-|COUNT|5|TYPE|string", "KEYS|*\\", "MSETNX|k|1|l|2",
		"COMMAND|GETKEYSANDFLAGS|MSET|a|b", "COMMAND|DOCS|get", "COMMAND|LIST|FILTERBY|PATTERN|[", "RENAME|k|l", "no\r\nsuch|\x00",
	} {
		f.Add(call)
	}
	families := func() *Table {
		return newTable(slices.Concat(stringCommands(), keyCommands(), introspectionCommands()))
	}
	f.Fuzz(func(t *testing.T, call string) {
		args := strings.Split(call, "|")
		c := newFakeClient(t)
		c.env.Table = families()
		c.do("SET", "k", "41", "EX", "100")
		for proto := range uint8(2) {
			c.session.Proto = 2 + proto
			parseReply(t, c.do(args...))
		}
	})
}
