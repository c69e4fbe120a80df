package command

import "kvstore/resp"

// clientCommand is CLIENT: what the server knows of connections.
func clientCommand() *Command {
	return &Command{
		Name: "client", Arity: -2, Since: "2.4.0", Complexity: "Depends on subcommand.",
		Summary: "Contains the commands on connections.",
		Sub:     append(ownClientCommands(), allClientsCommands()...),
	}
}

// clientCommandFlags are those of most of CLIENT.
const clientCommandFlags = NoScript | Loading | Stale

// ownClientCommands are about the connection they come from.
func ownClientCommands() []*Command {
	const flags = clientCommandFlags
	onOff := oneOf("enabled", tokenArg("on", "ON"), tokenArg("off", "OFF"))
	return []*Command{
		{
			Name: "id", Arity: 2, Flags: flags, Since: "5.0.0", Complexity: "O(1)",
			Summary: "Returns the id of the connection.",
			Local:   func(c *Ctx) { c.Int(int64(c.Session.ID)) },
		},
		{
			Name: "info", Arity: 2, Flags: flags, Since: "6.2.0", Complexity: "O(1)", Tips: []string{"nondeterministic_output"},
			Summary: "Describes the connection, as CLIENT LIST does.",
			Local:   runClientInfo,
		},
		{
			Name: "setname", Arity: 3, Flags: flags, Since: "2.6.9", Complexity: "O(1)",
			Summary: "Names the connection.",
			Args:    []Arg{stringArg("connection-name")},
			Local:   runClientSetName,
		},
		{
			Name: "getname", Arity: 2, Flags: flags, Since: "2.6.9", Complexity: "O(1)",
			Summary: "Returns the name of the connection.",
			Local:   runClientGetName,
		},
		{
			Name: "setinfo", Arity: 4, Flags: flags, Since: "7.2.0", Complexity: "O(1)",
			Summary: "Sets what the client library is called and its version.",
			Args: []Arg{oneOf("attr", stringArg("libname").after("LIB-NAME"),
				stringArg("libver").after("LIB-VER"))},
			Local: runClientSetInfo,
		},
		{
			Name: "reply", Arity: 3, Flags: flags, Since: "3.2.0", Complexity: "O(1)",
			Summary: "Says which replies the client wants.",
			Args:    []Arg{oneOf("action", tokenArg("on", "ON"), tokenArg("off", "OFF"), tokenArg("skip", "SKIP"))},
			Local:   runClientReply,
		},
		{
			Name: "no-evict", Arity: 3, Flags: flags | Admin, Since: "7.0.0", Complexity: "O(1)",
			Summary: "Marks the connection as one that is not closed to save memory.",
			Args:    []Arg{onOff},
			Local:   func(c *Ctx) { c.toggle(&c.Session.NoEvict) },
		},
		{
			Name: "no-touch", Arity: 3, Flags: flags, Since: "7.2.0", Complexity: "O(1)",
			Summary: "Marks the connection as one whose reads are not remembered; none are here.",
			Args:    []Arg{onOff},
			Local:   func(c *Ctx) { c.toggle(&c.Session.NoTouch) },
		},
		{
			Name: "help", Arity: 2, Flags: Loading | Stale, Since: "5.0.0", Complexity: "O(1)",
			Summary: "Explains the subcommands.",
			Local:   runClientHelp,
		},
	}
}

func runClientGetName(c *Ctx) {
	if c.Session.Name == "" {
		c.Null()
		return
	}
	c.BulkString(c.Session.Name)
}

func runClientSetName(c *Ctx) {
	if !plainText(c.Args[2]) {
		c.Error(textClientName)
		return
	}
	c.Session.Name = string(c.Args[2])
	c.OK()
}

func runClientSetInfo(c *Ctx) {
	var field *string
	switch {
	case equalFold(c.Args[2], "lib-name"):
		field = &c.Session.LibName
	case equalFold(c.Args[2], "lib-ver"):
		field = &c.Session.LibVer
	default:
		c.errorAbout("ERR Unrecognized option '", c.Args[2], "'")
		return
	}
	if !plainText(c.Args[3]) {
		c.errorAbout("ERR ", c.Args[2], " cannot contain spaces, newlines or special characters.")
		return
	}
	*field = string(c.Args[3])
	c.OK()
}

// errorAbout replies an error that repeats what the client sent.
func (c *Ctx) errorAbout(before string, sent []byte, after string) {
	c.Error(printable(append(append([]byte(before), echo(sent)...), after...)))
}

// runClientReply has no reply but to ON. The server makes ReplySkipNext of this
// command ReplySkip for the next one.
func runClientReply(c *Ctx) {
	switch mode := c.Args[2]; {
	case equalFold(mode, "on"):
		c.Session.Reply = ReplyOn
		c.OK()
	case equalFold(mode, "off"):
		c.Session.Reply = ReplyOff
	case equalFold(mode, "skip"):
		if c.Session.Reply != ReplyOff {
			c.Session.Reply = ReplySkipNext
		}
	default:
		c.Error(resp.ErrTextSyntax)
	}
}

// toggle sets flag by the argument ON or OFF.
func (c *Ctx) toggle(flag *bool) {
	switch {
	case equalFold(c.Args[2], "on"):
		*flag = true
	case equalFold(c.Args[2], "off"):
		*flag = false
	default:
		c.Error(resp.ErrTextSyntax)
		return
	}
	c.OK()
}

func runClientHelp(c *Ctx) {
	c.help("CLIENT",
		"GETNAME", "    Return the name of the current connection.",
		"ID", "    Return the ID of the current connection.",
		"INFO", "    Return information about the current client connection.",
		"KILL <ip:port>", "    Kill connection made from <ip:port>.",
		"KILL <option> <value> [<option> <value> [...]]", "    Kill connections. Options are:",
		"    * ADDR (<ip:port>)", "      Kill connections made from the specified address.",
		"    * LADDR (<ip:port>)", "      Kill connections made to the specified local address.",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)", "      Kill connections by type; all are NORMAL.",
		"    * USER <username>", "      Kill connections authenticated by <username>.",
		"    * SKIPME (YES|NO)", "      Skip killing current connection (default: yes).",
		"    * ID <client-id>", "      Kill connections by client id.",
		"    * MAXAGE <maxage>", "      Kill connections older than the specified number of seconds.",
		"LIST [options ...]", "    Return information about client connections. Options:",
		"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)", "      Return clients of specified type.",
		"    * ID <client-id> [<client-id> ...]", "      Return clients of these ids.",
		"NO-EVICT (ON|OFF)", "    Protect current client connection from eviction.",
		"NO-TOUCH (ON|OFF)", "    Accepted; reads leave no trace here.",
		"REPLY (ON|OFF|SKIP)", "    Control the replies sent to the current connection.",
		"SETINFO <option> <value>", "    Set client meta attr. Options are:",
		"    * LIB-NAME: the client lib name.", "    * LIB-VER: the client lib version.",
		"SETNAME <name>", "    Assign the name <name> to the current connection.",
	)
}

// help replies the lines of a HELP subcommand between those that all have.
func (c *Ctx) help(name string, lines ...string) {
	all := append([]string{name + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}, lines...)
	c.Lines(append(all, "HELP", "    Prints this help.")...)
}
