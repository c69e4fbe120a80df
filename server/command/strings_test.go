package command

import (
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
)

func TestStrings(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"get and set", `
			GET k => $-1
			SET k v => +OK
			get k => $1 v
			SET k "" => +OK
			GET k => $0
			STRLEN k => :0
			SET k four => +OK
			STRLEN k => :4
			STRLEN none => :0
			+ 3`},
		{"set with conditions", `
			SET k a XX => $-1
			SET k a nx => +OK
			SET k b NX => $-1
			GET k => $1 a
			SET k b xx => +OK
			SET k c NX XX => -ERR syntax error
			SET k c XX NX => -ERR syntax error
			SET k c NX NX => $-1
			+ 2`},
		{"set and get the old value", `
			SET k a GET => $-1
			SET k b GET => $1 a
			SET k c GET NX => $1 b
			GET k => $1 b
			SET k c NX GET => $1 b
			SET n c NX GET => $-1
			GET n => $1 c
			SET m c XX GET => $-1
			GET m => $-1
			SET k d XX GET => $1 b
			GET k => $1 d`},
		{"set with a deadline", `
			SET k v EX 10 => +OK
			PEXPIRETIME k => :1700000010000
			SET k v px 10 => +OK
			PEXPIRETIME k => :1700000000010
			SET k v EXAT 1700000099 => +OK
			PEXPIRETIME k => :1700000099000
			SET k v PXAT 1700000099001 => +OK
			PEXPIRETIME k => :1700000099001
			SET k w KEEPTTL => +OK
			PEXPIRETIME k => :1700000099001
			SET k x => +OK
			PTTL k => :-1
			SET n v KEEPTTL => +OK
			PTTL n => :-1
			SET k v EX 1 EX 20 => +OK
			TTL k => :20
			SET k v PX 10 => +OK
			@ 9
			GET k => $1 v
			@ 1
			GET k => $-1
			SET k new KEEPTTL => +OK
			TTL k => :-1
			SET k gone PXAT 1 => +OK
			GET k => $-1`},
		{"set with nonsense", `
			SET k v EX => -ERR syntax error
			SET k v EX 1 PX 1 => -ERR syntax error
			SET k v EX 1 KEEPTTL => -ERR syntax error
			SET k v KEEPTTL PXAT 5 => -ERR syntax error
			SET k v EXAT 5 PXAT 5 => -ERR syntax error
			SET k v PERSIST => -ERR syntax error
			SET k v EX x => -ERR value is not an integer or out of range
			SET k v EX 1.5 => -ERR value is not an integer or out of range
			SET k v EX 0 => -ERR invalid expire time in 'set' command
			SET k v PX -1 => -ERR invalid expire time in 'set' command
			SET k v EXAT -1 => -ERR invalid expire time in 'set' command
			SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
			SET k v PX 9223372036854775807 => -ERR invalid expire time in 'set' command
			SET k v EX 9223372036854775808 => -ERR value is not an integer or out of range
			SET k v PXAT 9223372036854775807 => +OK
			SET k => -ERR wrong number of arguments for 'set' command
			SET k v what => -ERR syntax error
			+ 1`},
		{"setnx setex psetex getset", `
			SETNX k a => :1
			SETNX k b => :0
			GETSET k c => $1 a
			GETSET n x => $-1
			SETEX k 10 v => +OK
			TTL k => :10
			GETSET k w => $1 v
			TTL k => :-1
			PSETEX k 1500 v => +OK
			PTTL k => :1500
			SETEX k 0 v => -ERR invalid expire time in 'setex' command
			PSETEX k -5 v => -ERR invalid expire time in 'psetex' command
			SETEX k ten v => -ERR value is not an integer or out of range
			SETEX k 10 => -ERR wrong number of arguments for 'setex' command`},
		{"getdel", `
			GETDEL k => $-1
			SET k v => +OK
			GETDEL k => $1 v
			EXISTS k => :0
			+ 2`},
		{"getex", `
			GETEX k => $-1
			GETEX k EX x => $-1
			GETEX k EX => -ERR syntax error
			SET k v => +OK
			+ 1
			GETEX k => $1 v
			+ 0
			GETEX k EX 10 => $1 v
			TTL k => :10
			GETEX k PX 1500 => $1 v
			PTTL k => :1500
			GETEX k EXAT 1700000100 => $1 v
			TTL k => :100
			GETEX k PXAT 1700000100500 => $1 v
			PTTL k => :100500
			+ 4
			GETEX k PERSIST => $1 v
			TTL k => :-1
			GETEX k PERSIST => $1 v
			+ 1
			GETEX k PERSIST EX 1 => -ERR syntax error
			GETEX k EX 1 PERSIST => -ERR syntax error
			GETEX k KEEPTTL => -ERR syntax error
			GETEX k NX => -ERR syntax error
			GETEX k EX 0 => -ERR invalid expire time in 'getex' command
			GETEX k EX x => -ERR value is not an integer or out of range
			GETEX k PXAT 1 => $1 v
			EXISTS k => :0`},
		{"append", `
			APPEND k ab => :2
			APPEND k c => :3
			GET k => $3 abc
			EXPIRE k 10 => :1
			APPEND k d => :4
			TTL k => :10
			APPEND e "" => :0
			EXISTS e => :1`},
		{"getrange", `
			SET k Hello => +OK
			GETRANGE k 0 -1 => $5 Hello
			GETRANGE k 1 3 => $3 ell
			GETRANGE k -3 -2 => $2 ll
			GETRANGE k -1 -3 => $0
			GETRANGE k 3 1 => $0
			GETRANGE k 0 100 => $5 Hello
			GETRANGE k -100 100 => $5 Hello
			GETRANGE k -100 -90 => $1 H
			GETRANGE k -90 -100 => $0
			GETRANGE k 5 10 => $0
			GETRANGE none 0 -1 => $0
			GETRANGE k -9223372036854775808 9223372036854775807 => $5 Hello
			SUBSTR k 0 0 => $1 H
			GETRANGE k x 1 => -ERR value is not an integer or out of range
			GETRANGE k 1 x => -ERR value is not an integer or out of range`},
		{"setrange", `
			SETRANGE k 0 "" => :0
			EXISTS k => :0
			SETRANGE k 0 abc => :3
			SETRANGE k 1 X => :3
			GET k => $3 aXc
			SETRANGE k 2 YZ => :4
			GET k => $4 aXYZ
			SETRANGE k 9 "" => :4
			EXPIRE k 10 => :1
			SETRANGE k 0 b => :4
			TTL k => :10
			SETRANGE k -1 x => -ERR offset is out of range
			SETRANGE k x x => -ERR value is not an integer or out of range
			SETRANGE k 536870911 xx => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
			SETRANGE k 9223372036854775807 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)`},
		{"counters", `
			INCR k => :1
			INCR k => :2
			DECR k => :1
			INCRBY k 10 => :11
			DECRBY k 12 => :-1
			GET k => $2 -1
			STRLEN k => :2
			EXPIRE k 10 => :1
			INCR k => :0
			TTL k => :10
			PERSIST k => :1
			INCR k => :1
			SET k 41 => +OK
			INCR k => :42
			APPEND k 0 => :3
			INCR k => :421
			+ 13`},
		{"counters at their limits", `
			SET k 9223372036854775807 => +OK
			INCR k => -ERR increment or decrement would overflow
			DECRBY k -1 => -ERR increment or decrement would overflow
			DECRBY k -9223372036854775808 => -ERR decrement would overflow
			DECR k => :9223372036854775806
			SET k -9223372036854775808 => +OK
			DECR k => -ERR increment or decrement would overflow
			INCRBY k 9223372036854775807 => :-1
			INCRBY k -9223372036854775808 => -ERR increment or decrement would overflow
			INCRBY k 9223372036854775808 => -ERR value is not an integer or out of range
			INCRBY k 1.0 => -ERR value is not an integer or out of range
			DECRBY k x => -ERR value is not an integer or out of range
			SET k 007 => +OK
			INCR k => -ERR value is not an integer or out of range
			SET k "" => +OK
			INCR k => -ERR value is not an integer or out of range
			SET k 1.5 => +OK
			DECR k => -ERR value is not an integer or out of range`},
		{"a counter whose sum is full, not its value", `
			SET k 9223372036854775807 => +OK
			DECRBY k 9223372036854775807 => :0
			EXPIRE k 100 => :1
			DECRBY k 5 => :-5
			TTL k => :100
			INCRBY k 9223372036854775807 => :9223372036854775802
			DECRBY k 9223372036854775807 => :-5`},
		{"incrbyfloat", `
			INCRBYFLOAT k 1.5 => $3 1.5
			INCRBYFLOAT k 1.5 => $1 3
			INCR k => :4
			INCRBYFLOAT k -0.1 => $3 3.9
			SET k 0.1 => +OK
			INCRBYFLOAT k 0.2 => $3 0.3
			SET k 5.0e3 => +OK
			INCRBYFLOAT k 2.0e2 => $4 5200
			EXPIRE k 10 => :1
			INCRBYFLOAT k 1 => $4 5201
			TTL k => :10
			INCRBYFLOAT k x => -ERR value is not a valid float
			INCRBYFLOAT k nan => -ERR value is not a valid float
			INCRBYFLOAT k inf => -ERR increment would produce NaN or Infinity
			SET k word => +OK
			INCRBYFLOAT k 1 => -ERR value is not a valid float`},
		{"several keys", `
			MSET a 1 b 2 a 3 => +OK
			MGET a none b => *3 $1 3 $-1 $1 2
			MSET a => -ERR wrong number of arguments for 'mset' command
			MSET a 1 b => -ERR wrong number of arguments for 'mset' command
			MGET => -ERR wrong number of arguments for 'mget' command
			EXPIRE a 10 => :1
			MSET a 4 => +OK
			TTL a => :-1
			MSETNX c 1 a 1 => :0
			EXISTS c => :0
			MSETNX c 1 d 2 c 3 => :1
			MGET c d => *2 $1 3 $1 2
			MSETNX c => -ERR wrong number of arguments for 'msetnx' command
			MSETNX e 1 f => -ERR wrong number of arguments for 'msetnx' command`},
	} {
		t.Run(tt.name, func(t *testing.T) { newFakeClient(t).script(tt.script) })
	}
}

func TestLongestValue(t *testing.T) {
	const limit = 10
	table := NewTable()
	for call, fits := range map[string]bool{
		"append k 34567890": true, "append k 345678901": false,
		"setrange k 9 x": true, "setrange k 10 x": false, "setrange k 8 xx": true, "setrange k 9 xx": false,
		"setrange k 0 12345678901": false, "setrange k 9223372036854775807 x": false,
	} {
		c := coordinator.Call{Exists: true, Value: []byte("12"), MaxValue: limit}
		for word := range strings.FieldsSeq(call) {
			c.Args = append(c.Args, []byte(word))
		}
		table.Lookup(c.Args[0]).Op.Run(&c)
		put, _, _, _, value, _, _ := c.Effect()
		tooLong := string(c.Out) == "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
		if put != fits || tooLong == fits || len(value) > limit {
			t.Errorf("%s: wrote %v %q, replied %q", call, put, value, c.Out)
		}
	}
}

func TestNullInRESP3(t *testing.T) {
	c := newFakeClient(t)
	c.session.Proto = 3
	c.script(`
		GET k => _
		SET k v XX => _
		MGET k => *1 _
		GETEX k => _
		RANDOMKEY => _`)
}

func TestBinaryValues(t *testing.T) {
	c := newFakeClient(t)
	value := "a\r\n\x00" + strings.Repeat("\xff", 300)
	c.do("SET", value, value)
	if got := c.do("GET", value); !strings.HasSuffix(got, "\r\n"+value+"\r\n") {
		t.Errorf("got %q", got)
	}
}

func TestSetDepends(t *testing.T) {
	set := NewTable().Lookup([]byte("set")).Op
	for call, want := range map[string]bool{
		"set k v": false, "set k v ex 10": false, "set k nx pxat 10": false,
		"set k v NX": true, "set k v ex 10 xx": true, "set k v get": true, "set k v keepttl": true,
	} {
		var args [][]byte
		for word := range strings.FieldsSeq(call) {
			args = append(args, []byte(word))
		}
		if set.Depends(args) != want {
			t.Errorf("%s: %v", call, !want)
		}
	}
}
