package command

import (
	"bytes"
	"crypto/subtle"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// RedisVersion is the version whose behaviour clients may expect; they choose
// what to send by it.
const RedisVersion = "7.2.4"

// defaultUser is the only user there is.
const defaultUser = "default"

const (
	textHelloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	textClientName  = "ERR Client names cannot contain spaces, newlines or special characters."
)

// connectionCommands is what a client says about its own connection.
func connectionCommands() []*Command {
	const early = NoScript | Loading | Stale | Fast | NoAuth | AllowBusy
	all := []*Command{
		{
			Name: "ping", Arity: -1, Flags: Fast, Since: "1.0.0", Complexity: "O(1)",
			Tips:    []string{"request_policy:all_shards", "response_policy:all_succeeded"},
			Summary: "Replies PONG, or the message that was sent.",
			Args:    []Arg{stringArg("message").optional()},
			Local:   runPing,
		},
		{
			Name: "echo", Arity: 2, Flags: Loading | Stale | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Replies the message that was sent.",
			Args:    []Arg{stringArg("message")},
			Local:   func(c *Ctx) { c.Bulk(c.Args[1]) },
		},
		{
			Name: "hello", Arity: -1, Flags: early, Since: "6.0.0", Complexity: "O(1)",
			History: []Change{{"6.2.0", "Without arguments it describes the connection."}},
			Summary: "Chooses the protocol, RESP2 or RESP3, and describes the server.",
			Args: []Arg{block("arguments", integerArg("protover"),
				block("auth", stringArg("username"), stringArg("password")).after("AUTH").optional(),
				stringArg("clientname").after("SETNAME").optional()).optional()},
			Local: runHello,
		},
		{
			Name: "auth", Arity: -2, Flags: early, Since: "1.0.0", Complexity: "O(1)",
			History: []Change{{"6.0.0", "Takes a user name."}},
			Summary: "Authenticates the connection.",
			Args:    []Arg{stringArg("username").since("6.0.0").optional(), stringArg("password")},
			Local:   runAuth,
		},
		{
			Name: "select", Arity: 2, Flags: Loading | Stale | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Changes the database of the connection, one of 16.",
			Args:    []Arg{integerArg("index")},
			Local:   runSelect,
		},
		{
			Name: "quit", Arity: -1, Flags: early, Since: "1.0.0", Complexity: "O(1)",
			Deprecated: "7.2.0", ReplacedBy: "just closing the connection",
			Summary: "Closes the connection after replying OK.",
			Local:   func(c *Ctx) { c.OK(); c.Session.Close = true },
		},
		{
			Name: "reset", Arity: 1, Flags: early, Since: "6.2.0", Complexity: "O(1)",
			Summary: "Puts the connection back to how it began, its QUORUM settings included.",
			Local:   runReset,
		},
		clientCommand(),
	}
	for _, c := range all {
		inFamily(c, GroupConnection, CatConnection)
	}
	return all
}

// inFamily completes the declarations of a command and its subcommands.
func inFamily(c *Command, group Group, categories Categories) {
	c.Group = group
	if c.runs() {
		c.Categories |= categories
	}
	for _, s := range c.Sub {
		inFamily(s, group, categories)
	}
}

func runPing(c *Ctx) {
	switch len(c.Args) {
	case 1:
		c.Simple("PONG")
	case 2:
		c.Bulk(c.Args[1])
	default:
		c.Out = AppendArityError(c.Out, c.Env.Table.Lookup(c.Args[0]))
	}
}

func runSelect(c *Ctx) {
	db, ok := resp.ParseInt64(c.Args[1])
	switch {
	case !ok:
		c.Error(resp.ErrTextNotInteger)
	case db < 0 || db >= Databases:
		c.Error(resp.ErrTextDBIndex)
	default:
		c.Session.DB = uint8(db)
		c.OK()
	}
}

func runReset(c *Ctx) {
	s := c.Session
	s.Name, s.DB, s.Proto, s.Reply = "", 0, 2, ReplyOn
	s.NoEvict, s.NoTouch, s.ReadOnly = false, false, false
	s.Levels = coordinator.Levels{}
	s.Authenticated = c.Env.Password() == ""
	c.Simple("RESET")
}

func runAuth(c *Ctx) {
	switch len(c.Args) {
	case 2:
		if c.Env.Password() == "" {
			c.Error(resp.ErrTextNoPassword)
			return
		}
		if !c.authenticate([]byte(defaultUser), c.Args[1]) {
			return
		}
	case 3:
		if !c.authenticate(c.Args[1], c.Args[2]) {
			return
		}
	default:
		c.Error(resp.ErrTextSyntax)
		return
	}
	c.OK()
}

// authenticate compares in a time that tells nothing of the password. When the
// password is wrong, it replies so and leaves the session as it was.
func (c *Ctx) authenticate(user, password []byte) bool {
	want := c.Env.Password()
	ok := want == "" || subtle.ConstantTimeCompare(password, []byte(want)) == 1
	if string(user) != defaultUser || !ok {
		c.Error(resp.ErrTextWrongPass)
		return false
	}
	c.Session.Authenticated = true
	return true
}

// helloOptions is what HELLO was asked for; nil is what was not given.
type helloOptions struct {
	proto                uint8 // 0 keeps the protocol
	user, password, name []byte
	named                bool
}

// parse returns the text of the error, empty if there is none.
func (o *helloOptions) parse(args [][]byte) string {
	if len(args) < 2 {
		return ""
	}
	proto, ok := resp.ParseInt64(args[1])
	switch {
	case !ok:
		return resp.ErrTextProtoNotInteger
	case proto != 2 && proto != 3:
		return resp.ErrTextNoProto
	}
	o.proto = uint8(proto)
	for i := 2; i < len(args); i++ {
		more := len(args) - 1 - i
		switch {
		case equalFold(args[i], "auth") && more >= 2:
			o.user, o.password = args[i+1], args[i+2]
			i += 2
		case equalFold(args[i], "setname") && more >= 1:
			o.name, o.named = args[i+1], true
			if !plainText(o.name) {
				return textClientName
			}
			i++
		default:
			return printable(append(append([]byte("ERR Syntax error in HELLO option '"), echo(args[i])...), '\''))
		}
	}
	return ""
}

func runHello(c *Ctx) {
	var o helloOptions
	if text := o.parse(c.Args); text != "" {
		c.Error(text)
		return
	}
	if o.user != nil && !c.authenticate(o.user, o.password) {
		return
	}
	s := c.Session
	if !s.Authenticated && c.Env.Password() != "" {
		c.Error(textHelloNoAuth)
		return
	}
	if o.named {
		s.Name = string(o.name)
	}
	if o.proto != 0 {
		s.Proto = o.proto
	}
	c.Map(7)
	c.BulkString("server")
	c.BulkString("redis")
	c.BulkString("version")
	c.BulkString(RedisVersion)
	c.BulkString("proto")
	c.Int(int64(s.Proto))
	c.BulkString("id")
	c.Int(int64(s.ID))
	c.BulkString("mode")
	c.BulkString("cluster")
	c.BulkString("role")
	c.BulkString("master")
	c.BulkString("modules")
	c.Array(0)
}

// plainText reports whether b may stand in a line of CLIENT LIST: printable
// ASCII without spaces.
func plainText(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < '!' || r > '~' }) < 0
}
