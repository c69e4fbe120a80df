package command

import (
	"strings"
	"testing"
	"time"

	"kvstore/cluster/coordinator"
)

func TestQuorum(t *testing.T) {
	const errors = `
		quorum set => -ERR wrong number of arguments for 'quorum|set' command
		quorum set r => -ERR syntax error
		quorum set x one => -ERR syntax error
		quorum set r 4 => -ERR level '4' cannot be met: a key has N=3 replicas
		quorum set r one w 5 => -ERR level '5' cannot be met: a key has N=3 replicas
		quorum set r most => -ERR level "most" is not one of one, two, three, quorum, all, local_one, local_quorum, each_quorum or a number from 1 to 64
		quorum set timeout 0 => -ERR timeout must be from 1 to 3600000 milliseconds
		quorum set timeout x => -ERR timeout must be from 1 to 3600000 milliseconds
		quorum set timeout 3600001 => -ERR timeout must be from 1 to 3600000 milliseconds
		quorum reset now => -ERR wrong number of arguments for 'quorum|reset' command
		quorum what => -ERR unknown subcommand 'what'. Try QUORUM HELP.
	`
	both(t, `
		quorum => *10 $1 n :3 $1 r $6 quorum $1 w $6 quorum $4 mode $6 strict $7 timeout :0
		quorum set R one W all TIMEOUT 250 => +OK
		quorum => *10 $1 n :3 $1 r $3 one $1 w $3 all $4 mode $6 strict $7 timeout :250
		`+errors+`
		quorum => *10 $1 n :3 $1 r $3 one $1 w $3 all $4 mode $6 strict $7 timeout :250
		quorum set w local_quorum => +OK
		quorum set w each_quorum => +OK
		quorum set r 3 strict => +OK
		quorum => *10 $1 n :3 $1 r $5 three $1 w $11 each_quorum $4 mode $6 strict $7 timeout :250
		quorum reset => +OK
		quorum => *10 $1 n :3 $1 r $6 quorum $1 w $6 quorum $4 mode $6 strict $7 timeout :0
	`, errors+`
		quorum => %5 $1 n :3 $1 r $6 quorum $1 w $6 quorum $4 mode $6 strict $7 timeout :0
		quorum set sloppy => +OK
		quorum => %5 $1 n :3 $1 r $6 quorum $1 w $6 quorum $4 mode $6 sloppy $7 timeout :0
	`)
}

func TestQuorumKey(t *testing.T) {
	r, _ := testRing(t, 3)
	p := r.OfSlot(12182)
	replica := func(proto uint8, i int) string {
		m := r.Member(r.Replicas(p)[i])
		role := "$7 primary"
		if i > 0 {
			role = "$7 replica"
		}
		head := "*18"
		if proto == 3 {
			head = "%9"
		}
		return head + " $2 id $16 " + m.ID.String() + " $4 name $2 " + m.Name + " $7 address $13 " + m.Client +
			" $2 dc $3 dc1 $4 rack $2 " + m.Rack + " $4 role " + role + " $5 state $5 alive $3 for $0  $5 hints $1 0"
	}
	want := func(proto uint8) string {
		all := []string{replica(proto, 0), replica(proto, 1), replica(proto, 2)}
		return "$4 slot :12182 $9 partition :47 $5 epoch :1 $8 replicas *3 " + strings.Join(all, " ")
	}
	both(t, "quorum key foo => *8 "+want(2), "quorum key foo => %4 "+want(3))
}

// call resolves QUORUM CALL as the server does.
func (f *family) call(words ...string) (args string, levels coordinator.Levels, failed string) {
	f.t.Helper()
	c := &Ctx{Session: f.session, Env: f.env}
	for _, w := range append([]string{"QUORUM", "call"}, words...) {
		c.Args = append(c.Args, []byte(w))
	}
	cmd, out := f.env.Table.Resolve(nil, c.Args)
	if cmd == nil {
		return "", levels, shown(string(out))
	}
	inner, levels, ok := cmd.Rewrite(c)
	if !ok {
		return "", levels, shown(string(c.Out))
	}
	if len(c.Out) > 0 {
		f.t.Errorf("a rewritten command has the output %q", c.Out)
	}
	var all []string
	for _, a := range inner {
		all = append(all, string(a))
	}
	return strings.Join(all, " "), levels, ""
}

func TestQuorumCall(t *testing.T) {
	f := newFamily(t, 3)
	for _, c := range []struct {
		call, args, failed string
		levels             coordinator.Levels
	}{
		{call: "one all get k", args: "get k", levels: coordinator.Levels{R: coordinator.One, W: coordinator.All}},
		{call: "- 2 SET k v EX 10", args: "SET k v EX 10", levels: coordinator.Levels{W: coordinator.Two}},
		{call: "- - mget a b c", args: "mget a b c"},
		{call: "EACH_QUORUM - rename a b", args: "rename a b", levels: coordinator.Levels{R: coordinator.EachQuorum}},
		{call: "one one vclock get k", args: "vclock get k", levels: coordinator.Levels{R: coordinator.One, W: coordinator.One}},
		{call: "one one quorum key k", args: "quorum key k", levels: coordinator.Levels{R: coordinator.One, W: coordinator.One}},
		{call: "one one", failed: "-ERR wrong number of arguments for 'quorum|call' command"},
		{call: "one one get", failed: "-ERR wrong number of arguments for 'get' command"},
		{call: "one one nosuch k", failed: "-ERR unknown command 'nosuch', with args beginning with: 'k'"},
		{call: "one one client what", failed: "-ERR unknown subcommand 'what'. Try CLIENT HELP."},
		{call: "one one ping", failed: "-ERR QUORUM CALL runs commands that name keys, which 'ping' does not"},
		{call: "one one client id", failed: "-ERR QUORUM CALL runs commands that name keys, which 'client|id' does not"},
		{call: "one one quorum call one one get k", failed: "-ERR QUORUM CALL cannot run another QUORUM CALL"},
		{call: "4 one get k", failed: "-ERR level '4' cannot be met: a key has N=3 replicas"},
		{call: "one some get k", failed: `-ERR level "some" is not one of one, two, three, quorum, all, local_one, local_quorum, each_quorum or a number from 1 to 64`},
	} {
		args, levels, failed := f.call(strings.Fields(c.call)...)
		if args != c.args || failed != c.failed || failed == "" && levels != c.levels {
			t.Errorf("%s: %q %+v %q", c.call, args, levels, failed)
		}
	}
}

// A command that waits takes the levels of its call where they are given, and
// the session's elsewhere.
func TestCallLevels(t *testing.T) {
	f := newFamily(t, 3)
	f.session.Levels = coordinator.Levels{R: coordinator.Two, W: coordinator.Two, Timeout: time.Second}
	var seen coordinator.Levels
	f.node.fail = func(r *coordinator.Request) error {
		seen = r.Levels
		return nil
	}
	c := &Ctx{Session: f.session, Env: f.env, Levels: coordinator.Levels{R: coordinator.All}}
	get := f.env.Table.Lookup([]byte("get"))
	if _, err := c.Do(t.Context(), get.Op, 0, []byte("k"), []byte("get"), []byte("k")); err != nil {
		t.Fatal(err)
	}
	if want := (coordinator.Levels{R: coordinator.All, W: coordinator.Two, Timeout: time.Second}); seen != want {
		t.Errorf("levels %+v, want %+v", seen, want)
	}
}

func TestWait(t *testing.T) {
	const same = `
		wait 2 0 => :1
		wait x 0 => -ERR value is not an integer or out of range
		wait 0 x => -ERR timeout is not an integer or out of range
		wait 0 -1 => -ERR timeout is negative
		quorum set w all => +OK
		wait 2 100 => :2
		quorum set w local_one => +OK
		wait 2 100 => :0
	`
	both(t, same, same)
	newFamily(t, 1).script("quorum set w all => +OK\nwait 1 0 => :0")
}
