package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
)

func TestKeys(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"presence", `
			MSET a 1 b 2 => +OK
			EXISTS a b a none => :3
			TOUCH a none => :1
			TYPE a => +string
			TYPE none => +none
			DEL a a none => :1
			UNLINK b none => :1
			EXISTS a b => :0
			DEL => -ERR wrong number of arguments for 'del' command`},
		{"deadlines", `
			TTL k => :-2
			PTTL k => :-2
			EXPIRETIME k => :-2
			PEXPIRETIME k => :-2
			SET k v => +OK
			TTL k => :-1
			PTTL k => :-1
			EXPIRETIME k => :-1
			PEXPIRETIME k => :-1
			PEXPIRE k 1499 => :1
			TTL k => :1
			PTTL k => :1499
			PEXPIRE k 1500 => :1
			TTL k => :2
			EXPIREAT k 1700000010 => :1
			EXPIRETIME k => :1700000010
			PEXPIREAT k 1700000010500 => :1
			EXPIRETIME k => :1700000011
			PEXPIRETIME k => :1700000010500
			PERSIST k => :1
			PERSIST k => :0
			PERSIST none => :0
			EXPIRE k 9223372036854775 => -ERR invalid expire time in 'expire' command
			PEXPIREAT k 9223372036854775807 => :1
			EXPIRETIME k => :9223372036854776
			EXPIRE k 1 => :1
			@ 1000
			EXISTS k => :0
			EXPIRE k 1 => :0`},
		{"a deadline that has passed deletes", `
			MSET a 1 b 1 c 1 d 1 => +OK
			EXPIRE a 0 => :1
			PEXPIRE b -1 => :1
			EXPIREAT c 1 => :1
			PEXPIREAT d -1 => :1
			EXISTS a b c d => :0
			EXPIRE k -1 => :0`},
		{"conditions", `
			SET k v => +OK
			EXPIRE k 10 XX => :0
			EXPIRE k 10 GT => :0
			EXPIRE k 100 LT => :1
			EXPIRE k 10 nx => :0
			EXPIRE k 100 GT => :0
			EXPIRE k 100 LT => :0
			EXPIRE k 200 GT => :1
			EXPIRE k 150 XX LT => :1
			EXPIRE k 150 XX GT => :0
			TTL k => :150
			PERSIST k => :1
			EXPIRE k 7 NX => :1
			EXPIRE k 7 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
			EXPIRE k 7 GT NX => -ERR NX and XX, GT or LT options at the same time are not compatible
			EXPIRE k 7 LT GT => -ERR GT and LT options at the same time are not compatible
			EXPIRE k x what => -ERR Unsupported option what
			EXPIRE k x => -ERR value is not an integer or out of range
			EXPIRE k -1 GT => :0
			EXPIRE k -1 LT => :1
			EXISTS k => :0
			EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
			EXPIRE k -9223372036854775808 => -ERR invalid expire time in 'expire' command
			PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
			EXPIREAT k 9223372036854775807 => -ERR invalid expire time in 'expireat' command
			PEXPIREAT k 9223372036854775808 => -ERR value is not an integer or out of range`},
		{"rename", `
			RENAME a b => -ERR no such key
			RENAME a a => -ERR no such key
			SET a 1 EX 10 => +OK
			SET b 2 => +OK
			RENAME a b => +OK
			GET b => $1 1
			TTL b => :10
			EXISTS a => :0
			RENAME b b => +OK
			RENAMENX b b => :0
			RENAMENX none b => -ERR no such key
			RENAMENX b c => :1
			SET b 3 => +OK
			RENAMENX b c => :0
			MGET b c => *2 $1 3 $1 1
			INCR n => :1
			RENAME n m => +OK
			INCR m => :2`},
		{"copy", `
			COPY a b => :0
			SET a 1 EX 10 => +OK
			COPY a b => :1
			GET b => $1 1
			TTL b => :10
			SET a 2 => +OK
			COPY a b => :0
			COPY a b REPLACE => :1
			GET b => $1 2
			TTL b => :-1
			COPY a a => -ERR source and destination objects are the same
			COPY a a DB 0 => -ERR source and destination objects are the same
			COPY a a DB 3 => :1
			COPY a a DB 3 => :0
			COPY a a replace db 3 => :1
			COPY a c DB 16 => -ERR DB index is out of range
			COPY a c DB -1 => -ERR DB index is out of range
			COPY a c DB x => -ERR value is not an integer or out of range
			COPY a c DB => -ERR syntax error
			COPY a c WHAT => -ERR syntax error`},
		{"going through keys", `
			RANDOMKEY => $-1
			KEYS * => *0
			SCAN 0 => *2 $1 0 *0
			MSET one 1 two 2 three 3 => +OK
			KEYS t* => *2 $5 three $3 two
			KEYS ??? => *2 $3 one $3 two
			KEYS none => *0
			SCAN 0 COUNT 2 => *2 $1 2 *2 $3 one $5 three
			SCAN 2 COUNT 2 => *2 $1 0 *1 $3 two
			SCAN 0 MATCH t* => *2 $1 0 *2 $5 three $3 two
			SCAN 0 MATCH t* COUNT 1 => *2 $1 1 *0
			SCAN 0 TYPE string => *2 $1 0 *3 $3 one $5 three $3 two
			SCAN 0 TYPE list => *2 $1 0 *0
			SCAN 18446744073709551615 => *2 $1 0 *0
			SCAN 18446744073709551616 => -ERR invalid cursor
			SCAN x => -ERR invalid cursor
			SCAN -1 => -ERR invalid cursor
			SCAN 0 COUNT 0 => -ERR syntax error
			SCAN 0 COUNT x => -ERR value is not an integer or out of range
			SCAN 0 COUNT => -ERR syntax error
			SCAN 0 WHAT 1 => -ERR syntax error
			DEL one two => :2
			RANDOMKEY => $5 three
			EXPIRE three 0 => :1
			RANDOMKEY => $-1
			KEYS * => *0`},
	} {
		t.Run(tt.name, func(t *testing.T) { newFakeClient(t).script(tt.script) })
	}
}

// A value that another client writes between the steps of RENAME stays.
func TestRenameKeepsConcurrentWrite(t *testing.T) {
	c := newFakeClient(t)
	c.do("SET", "a", "old")
	c.node.fail = func(r *coordinator.Request) error {
		if r.Op.Name == "move-drop" {
			c.node.fail = nil
			c.do("SET", "a", "new")
		}
		return nil
	}
	c.script(`
		RENAME a b => +OK
		MGET a b => *2 $3 new $3 old`)
}

func TestClusterErrors(t *testing.T) {
	c := newFakeClient(t)
	c.do("MSET", "a", "1", "b", "2")
	failing := func(op string, nth int, err error) {
		c.node.fail = func(r *coordinator.Request) error {
			if r.Op.Name != op {
				return nil
			}
			nth--
			if nth == 0 {
				return err
			}
			return nil
		}
	}
	for _, tt := range []struct {
		op   string
		nth  int
		err  error
		call string
		want string
	}{
		{"get", 1, coordinator.ErrNoQuorum, "GET a", "-NOQUORUM refused: too few"},
		{"get", 1, coordinator.ErrTimeout, "GET a", "-TIMEOUT "},
		{"get", 1, context.Canceled, "GET a", "-TIMEOUT "},
		{"set", 1, context.DeadlineExceeded, "SET a 1", "-TIMEOUT "},
		{"set", 1, coordinator.ErrOverloaded, "SET a 1", "-OVERLOADED refused: "},
		{"set", 1, coordinator.ErrFull, "SET a 1", "-MISCONF refused: the disk is full\r\n"},
		{"set", 1, coordinator.ErrReadOnly, "SET a 1", "-MISCONF refused: writes are refused after a failed flush to disk\r\n"},
		{"set", 1, coordinator.ErrNotReady, "SET a 1", "-CLUSTERDOWN "},
		{"set", 1, coordinator.ErrTooManySiblings, "SET a 1", "-ERR "},
		{"set", 1, fmt.Errorf("read: %w", coordinator.ErrCorrupt), "SET a 1", "-CORRUPT read: "},
		{"set", 1, errors.New("other"), "SET a 1", "-ERR other"},
		{"mget", 2, coordinator.ErrNoQuorum, "MGET a b", "-NOQUORUM "},
		{"mset", 1, coordinator.ErrNoQuorum, "MSET a 1", "-NOQUORUM "},
		{"mset", 2, coordinator.ErrNoQuorum, "MSET a 1 b 2", "-TIMEOUT some keys may have been written"},
		{"exists", 2, coordinator.ErrNoQuorum, "EXISTS a b", "-NOQUORUM "},
		{"del", 2, coordinator.ErrNoQuorum, "DEL x a", "-TIMEOUT some keys may have been written"},
		{"move-fetch", 1, coordinator.ErrNoQuorum, "RENAME a c", "-NOQUORUM "},
		{"move-store", 1, coordinator.ErrNoQuorum, "RENAME a c", "-NOQUORUM "},
		{"move-drop", 1, coordinator.ErrNoQuorum, "RENAME a c", "-TIMEOUT some keys may have been written"},
		{"move-store", 1, coordinator.ErrTimeout, "COPY a d", "-TIMEOUT "},
		{"msetnx-exists", 2, coordinator.ErrNoQuorum, "MSETNX p 1 q 2", "-NOQUORUM "},
		{"msetnx-set", 1, coordinator.ErrNoQuorum, "MSETNX p 1 q 2", "-NOQUORUM "},
		{"msetnx-set", 2, coordinator.ErrNoQuorum, "MSETNX p 1 q 2", "-TIMEOUT some keys may have been written"},
	} {
		failing(tt.op, tt.nth, tt.err)
		if got := c.do(strings.Fields(tt.call)...); !strings.HasPrefix(got, tt.want) || !strings.HasSuffix(got, "\r\n") {
			t.Errorf("%s with %v in %s: got %q, want %q", tt.call, tt.err, tt.op, got, tt.want)
		}
	}
}

func TestScanErrors(t *testing.T) {
	c := newFakeClient(t)
	c.node.scanErr = coordinator.ErrNoQuorum
	for _, call := range []string{"SCAN 0", "KEYS *", "RANDOMKEY"} {
		if got := c.do(strings.Fields(call)...); !strings.HasPrefix(got, "-NOQUORUM ") {
			t.Errorf("%s: %q", call, got)
		}
	}
}

func TestScanMeetsEveryKeyOnce(t *testing.T) {
	c := newFakeClient(t)
	for i := range 57 {
		c.do("SET", fmt.Sprintf("key:%02d", i), "v")
	}
	seen, cursor := 0, "0"
	for {
		reply := strings.Split(c.do("SCAN", cursor, "COUNT", "7"), "\r\n")
		cursor = reply[2]
		seen += strings.Count(strings.Join(reply, " "), "key:")
		if cursor == "0" {
			break
		}
	}
	if seen != 57 {
		t.Errorf("met %d keys of 57", seen)
	}
}
