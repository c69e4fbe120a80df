package command

import (
	"slices"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
)

func TestConnection(t *testing.T) {
	const same = `
		ping => +PONG
		ping hi => $2 hi
		ping a b => -ERR wrong number of arguments for 'ping' command
		echo hi => $2 hi
		echo => -ERR wrong number of arguments for 'echo' command
		select 15 => +OK
		select 16 => -ERR DB index is out of range
		select -1 => -ERR DB index is out of range
		select x => -ERR value is not an integer or out of range
		auth x => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
		auth default x => +OK
		auth someone x => -WRONGPASS invalid username-password pair or user is disabled.
		auth a b c => -ERR syntax error
		hello x => -ERR Protocol version is not an integer or out of range
		hello 4 => -NOPROTO unsupported protocol version
		hello 2 what => -ERR Syntax error in HELLO option 'what'
		hello 2 auth a => -ERR Syntax error in HELLO option 'auth'
		hello 2 setname => -ERR Syntax error in HELLO option 'setname'
		client id => :1
		client setname bob => +OK
		client getname => $3 bob
		client setinfo lib-name go => +OK
		client setinfo LIB-VER 1.2 => +OK
		client setinfo what x => -ERR Unrecognized option 'what'
		client no-evict on => +OK
		client no-evict maybe => -ERR syntax error
		client no-touch off => +OK
		client tracking on => -ERR unknown subcommand 'tracking'. Try CLIENT HELP.
		client => -ERR wrong number of arguments for 'client' command
		client id x => -ERR wrong number of arguments for 'client|id' command
		client reply on => +OK
		client reply => -ERR wrong number of arguments for 'client|reply' command
		client reply what => -ERR syntax error
		quit now => +OK
		reset => +RESET
		reset x => -ERR wrong number of arguments for 'reset' command
	`
	both(t, same+"client getname => $-1\nhello => *14 $6 server $5 redis $7 version $5 7.2.4 $5 proto :2 $2 id :1 $4 mode $7 cluster $4 role $6 master $7 modules *0",
		"hello 3 setname x => %7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $7 cluster $4 role $6 master $7 modules *0"+
			"\nclient getname => $1 x\nclient setname \"\" => +OK\nclient getname => _\n"+same)
}

func TestNamesAreOneWord(t *testing.T) {
	f := newFamily(t, 1)
	for _, name := range []string{"a b", "a\nb", "é", "\x7f"} {
		if got := shown(f.do("client", "setname", name)); got != "-"+textClientName {
			t.Errorf("%q: %s", name, got)
		}
		if got := shown(f.do("hello", "3", "setname", name)); got != "-"+textClientName || f.session.Proto != 2 {
			t.Errorf("%q: %s", name, got)
		}
		if got := shown(f.do("client", "setinfo", "lib-name", name)); got != "-ERR lib-name cannot contain spaces, newlines or special characters." {
			t.Errorf("%q: %s", name, got)
		}
	}
}

func TestResetForgetsEverything(t *testing.T) {
	f := newFamily(t, 3)
	f.script(`
		hello 3 setname x => %7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $7 cluster $4 role $6 master $7 modules *0
		select 3 => +OK
		readonly => +OK
		quorum set r one => +OK
		client no-evict on => +OK
		client no-touch on => +OK
		reset => +RESET
	`)
	s := f.session
	if s.Name != "" || s.DB != 0 || s.Proto != 2 || s.ReadOnly || s.NoEvict || s.NoTouch || s.Levels != (coordinator.Levels{}) || !s.Authenticated || s.Close {
		t.Errorf("after RESET: %+v", s)
	}
}

func TestAuthentication(t *testing.T) {
	f := newFamily(t, 3)
	f.password, f.session.Authenticated = "secret", false
	f.script(`
		hello 3 => -` + textHelloNoAuth + `
		auth wrong => -WRONGPASS invalid username-password pair or user is disabled.
		auth default wrong => -WRONGPASS invalid username-password pair or user is disabled.
		auth other secret => -WRONGPASS invalid username-password pair or user is disabled.
		hello 3 auth default wrong setname x => -WRONGPASS invalid username-password pair or user is disabled.
	`)
	if f.session.Authenticated || f.session.Proto != 2 || f.session.Name != "" {
		t.Errorf("a refused HELLO changed the session: %+v", f.session)
	}
	f.script("auth secret => +OK")
	if !f.session.Authenticated {
		t.Error("AUTH did not authenticate")
	}
	f.script("reset => +RESET")
	if f.session.Authenticated {
		t.Error("RESET kept the authentication")
	}
	if got := f.do("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"); !strings.HasPrefix(got, "%7") || !f.session.Authenticated || f.session.Name != "me" {
		t.Errorf("HELLO AUTH: %q %+v", got, f.session)
	}
}

func TestClientReply(t *testing.T) {
	f := newFamily(t, 1)
	for _, step := range []struct {
		word, reply string
		mode        ReplyMode
	}{{"skip", "", ReplySkipNext}, {"off", "", ReplyOff}, {"skip", "", ReplyOff}, {"on", "+OK", ReplyOn}} {
		if got := shown(f.do("client", "reply", step.word)); got != step.reply || f.session.Reply != step.mode {
			t.Errorf("%s: %q, mode %d", step.word, got, f.session.Reply)
		}
	}
}

func TestQuitAndShutdown(t *testing.T) {
	f := newFamily(t, 1)
	f.script("quit => +OK")
	if !f.session.Close {
		t.Error("QUIT leaves the connection open")
	}
	f.script(`
		shutdown what => -ERR syntax error
		shutdown save nosave => -ERR syntax error
		shutdown abort now => -ERR syntax error
		shutdown abort => -ERR No shutdown in progress.
		shutdown nosave force =>
		shutdown =>
	`)
	if len(f.shutdown) != 2 || f.shutdown[0] || !f.shutdown[1] {
		t.Errorf("shutdowns: %v", f.shutdown)
	}
}

// ids are those of the clients a CLIENT LIST shows.
func (f *family) ids(args ...string) string {
	f.t.Helper()
	var ids []string
	for line := range strings.Lines(parseReply(f.t, f.do(append([]string{"client", "list"}, args...)...)).text) {
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestClientList(t *testing.T) {
	f := newFamily(t, 1)
	f.session.LibName, f.session.LibVer, f.session.NoEvict = "lib", "1", true
	f.session.LastCommand = f.env.Table.Lookup([]byte("client")).Subcommand([]byte("info"))
	const want = "id=1 addr=127.0.0.1:5001 laddr=127.0.0.1:7001 fd=-1 name= age=0 idle=0 flags=e db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 " +
		"argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|info user=default redir=-1 resp=2 lib-name=lib lib-ver=1\n"
	if got := parseReply(t, f.do("client", "info")); got.kind != '$' || got.text != want {
		t.Errorf("CLIENT INFO\n got %q\nwant %q", got.text, want)
	}
	f.session.Proto = 3
	if got := parseReply(t, f.do("client", "info")); got.kind != '=' || !strings.HasPrefix(got.text, "txt:id=1 ") {
		t.Errorf("CLIENT INFO in RESP3: %s", got)
	}
	f.session.Proto = 2
	for args, want := range map[string]string{"": "1 2 3", "type normal": "1 2 3", "type pubsub": "", "type slave": "", "id 3 1 99": "1 3"} {
		if got := f.ids(strings.Fields(args)...); got != want {
			t.Errorf("CLIENT LIST %s: %q, want %q", args, got, want)
		}
	}
	f.script(`
		client list what => -ERR syntax error
		client list id => -ERR syntax error
		client list type => -ERR syntax error
		client list id x => -ERR Invalid client ID
		client list type what => -ERR Unknown client type 'what'
	`)
}

func TestClientKill(t *testing.T) {
	for args, want := range map[string]string{
		"127.0.0.1:5003":                   "+OK|1 2",
		"127.0.0.1:9":                      "-ERR No such client|1 2 3",
		"127.0.0.1:5001":                   "+OK|2 3",
		"id 2":                             ":1|1 3",
		"id 1":                             ":0|1 2 3",
		"id 1 skipme no":                   ":1|2 3",
		"id 99":                            ":0|1 2 3",
		"addr 127.0.0.1:5002":              ":1|1 3",
		"laddr 127.0.0.1:7001":             ":1|1 3",
		"laddr 127.0.0.1:7001 skipme no":   ":2|3",
		"type normal":                      ":2|1",
		"TYPE normal SKIPME no":            ":3|",
		"type pubsub":                      ":0|1 2 3",
		"user default":                     ":2|1",
		"maxage 1000":                      ":1|1 3",
		"maxage 1000 laddr 127.0.0.2:7001": ":0|1 2 3",
		"maxage 9223372036854775807":       ":0|1 2 3",
		"maxage 0":                         "-ERR maxage should be greater than 0|1 2 3",
		"maxage x":                         "-ERR maxage is not an integer or out of range|1 2 3",
		"id x":                             "-ERR client-id should be greater than 0|1 2 3",
		"type what":                        "-ERR Unknown client type 'what'|1 2 3",
		"user other":                       "-ERR No such user 'other'|1 2 3",
		"skipme perhaps":                   "-ERR syntax error|1 2 3",
		"id 1 type":                        "-ERR syntax error|1 2 3",
		"what 1":                           "-ERR syntax error|1 2 3",
	} {
		f := newFamily(t, 1)
		reply := shown(f.do(append([]string{"client", "kill"}, strings.Fields(args)...)...))
		var left []string
		for _, c := range f.clients.list {
			left = append(left, string('0'+byte(c.ID)))
		}
		if got := reply + "|" + strings.Join(left, " "); got != want {
			t.Errorf("CLIENT KILL %s: %s, want %s", args, got, want)
		}
	}
}

// What these commands reply does not depend on anything but the session, so it
// is what a real Redis replies.
func TestConnectionAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	if redis == nil {
		return
	}
	f := newFamily(t, 1)
	for _, call := range []string{
		"ping", "PING x", "ping a b", "echo x", "echo", "select 3", "select 16", "select -1", "select x", "select", "auth", "auth x", "auth a b",
		"auth default x", "auth a b c", "hello x", "hello 1", "hello 4", "hello 3 what", "hello 2 auth", "hello 2 auth x", "hello 2 setname",
		"hello 3 auth a b", "client getname", "client setname x", "client getname", "client", "client what", "client id x", "client getname x",
		"client setname", "client setname a b", "client reply", "client reply what", "client reply on", "client no-evict what", "client no-evict on",
		"client no-evict", "client kill", "client kill x", "client kill x y", "client kill id", "client kill id x", "client kill id 0",
		"client kill id 9999", "client kill id 9999 type", "client kill type what", "client kill user what", "client kill skipme x",
		"client kill addr 1.1.1.1:1 laddr x", "client list what", "client list type", "client list type what", "client list id", "client list id x",
		"client list type pubsub", "client list type replica", "client list id 9999", "role", "wait", "wait x 0", "wait 0 x", "wait 0 -1", "time x",
		"dbsize x", "shutdown what", "shutdown save nosave", "shutdown abort", "flushdb what", "flushall a b", "flushall async x", "config",
		"config what", "config get", "config get save", "config get appendonly x", "config get databases", "config get maxmemory",
		"config get nosuch", "config set x", "config set a b c", "config set nosuch x", "config set maxmemory 0 maxmemory 0", "config resetstat x",
		"config resetstat", "config get proto-max-bulk-len", "info nosuch", "info modules", "readonly x", "quit x",
	} {
		words := strings.Fields(call)
		if call == "config get appendonly x" { // the defaults of the two differ
			continue
		}
		want, got := redis.do(words...), parseReply(t, f.do(words...))
		if got.String() != want.String() {
			t.Errorf("%s\n got %s\nwant %s", call, got, want)
		}
		if call == "quit x" {
			break
		}
	}
}

// COMMAND INFO and DOCS describe these families as Redis does. Tips and the
// names of arguments are not of the same version; CLUSTER is served while the
// node is starting, because clients ask it whether the cluster is there.
func TestFamiliesAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	if redis == nil {
		return
	}
	f := newFamily(t, 1)
	// Since 7.2, or of another kind there.
	different := map[string]bool{"client|setinfo": true, "client|no-touch": true, "wait": true}
	names := []string{}
	for _, c := range slices.Concat(connectionCommands(), serverCommands(), clusterCommands()) {
		names = append(names, c.Name)
		for _, s := range c.Sub {
			names = append(names, c.Name+"|"+s.Name)
		}
	}
	for _, name := range names {
		if different[name] {
			continue
		}
		got := parseReply(t, f.do("COMMAND", "INFO", name)).list[0]
		want := redis.do("COMMAND", "INFO", name).list[0]
		for _, part := range []int{1, 2, 3, 4, 5, 6} { // arity, flags, keys, categories
			got.list[part].sort()
			want.list[part].sort()
			if part == 2 && strings.HasPrefix(name, "cluster|") {
				got.list[part].list = slices.DeleteFunc(got.list[part].list, func(r *reply) bool { return r.text == "loading" })
				want.list[part].list = slices.DeleteFunc(want.list[part].list, func(r *reply) bool { return r.text == "loading" })
			}
			if g, w := got.list[part].String(), want.list[part].String(); g != w {
				t.Errorf("%s\n got %s\nwant %s", name, g, w)
			}
		}
		gotDocs, wantDocs := f.docs(parseReply(t, f.do("COMMAND", "DOCS", name))), f.docs(redis.do("COMMAND", "DOCS", name))
		for _, field := range []string{"since", "group"} {
			if gotDocs[field] != wantDocs[field] {
				t.Errorf("%s, %s\n got %s\nwant %s", name, field, gotDocs[field], wantDocs[field])
			}
		}
	}
}
