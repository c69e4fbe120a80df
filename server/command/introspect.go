package command

import (
	"strings"

	"github.com/tidwall/redcon"

	"kvstore/resp"
)

// introspectionCommands is COMMAND: the table as clients read it.
func introspectionCommands() []*Command {
	const flags = Loading | Stale
	tips := []string{"nondeterministic_output_order"}
	names := []Arg{stringArg("command-name").optional().multiple()}
	call := []Arg{stringArg("command"), stringArg("arg").optional().multiple()}
	return []*Command{{
		Name: "command", Arity: -1, Flags: flags, Since: "2.8.13", Group: GroupServer, Categories: CatConnection, Tips: tips,
		Complexity: "O(N) where N is the number of commands",
		Summary:    "Returns what there is to know of every command.",
		Local:      runCommand,
		Sub: []*Command{
			{
				Name: "count", Arity: 2, Flags: flags, Since: "2.8.13", Group: GroupServer, Categories: CatConnection,
				Complexity: "O(1)", Summary: "Returns the number of commands.", Local: runCommandCount,
			},
			{
				Name: "info", Arity: -2, Flags: flags, Since: "2.8.13", Group: GroupServer, Categories: CatConnection, Tips: tips,
				History:    []Change{{"7.0.0", "Without names it tells of all commands."}},
				Complexity: "O(N) where N is the number of commands asked for",
				Summary:    "Returns arity, flags, keys and categories of commands.", Args: names, Local: runCommandInfo,
			},
			{
				Name: "docs", Arity: -2, Flags: flags, Since: "7.0.0", Group: GroupServer, Categories: CatConnection, Tips: tips,
				Complexity: "O(N) where N is the number of commands asked for",
				Summary:    "Returns the manual of commands.", Args: names, Local: runCommandDocs,
			},
			{
				Name: "list", Arity: -2, Flags: flags, Since: "7.0.0", Group: GroupServer, Categories: CatConnection, Tips: tips,
				Complexity: "O(N) where N is the number of commands",
				Summary:    "Returns the names of commands.",
				Args: []Arg{oneOf("filterby", stringArg("module-name").after("MODULE"), stringArg("category").after("ACLCAT"),
					patternArg("pattern").after("PATTERN")).after("FILTERBY").optional()},
				Local: runCommandList,
			},
			{
				Name: "getkeys", Arity: -3, Flags: flags, Since: "2.8.13", Group: GroupServer, Categories: CatConnection,
				Complexity: "O(N) where N is the number of arguments",
				Summary:    "Returns the keys in a call of a command.", Args: call, Local: runCommandGetKeys,
			},
			{
				Name: "getkeysandflags", Arity: -3, Flags: flags, Since: "7.0.0", Group: GroupServer, Categories: CatConnection,
				Complexity: "O(N) where N is the number of arguments",
				Summary:    "Returns the keys in a call of a command and what becomes of them.", Args: call, Local: runCommandGetKeysAndFlags,
			},
			{
				Name: "help", Arity: 2, Flags: flags, Since: "5.0.0", Group: GroupServer, Categories: CatConnection,
				Complexity: "O(1)", Summary: "Returns a line or two on each subcommand.", Local: runCommandHelp,
			},
		},
	}}
}

func runCommand(c *Ctx) { c.infoOfAll() }

func (c *Ctx) infoOfAll() {
	all := c.Env.Table.All()
	c.Array(len(all))
	for _, cmd := range all {
		c.Out = appendInfo(c.Out, c.Session.Proto, cmd)
	}
}

func runCommandCount(c *Ctx) { c.Int(int64(len(c.Env.Table.All()))) }

func runCommandInfo(c *Ctx) {
	names := c.Args[2:]
	if len(names) == 0 {
		c.infoOfAll()
		return
	}
	c.Array(len(names))
	for _, name := range names {
		if cmd := c.Env.Table.find(name); cmd != nil {
			c.Out = appendInfo(c.Out, c.Session.Proto, cmd)
		} else {
			c.Null()
		}
	}
}

func runCommandDocs(c *Ctx) {
	var asked []*Command
	for _, name := range c.Args[2:] {
		if cmd := c.Env.Table.find(name); cmd != nil {
			asked = append(asked, cmd)
		}
	}
	if len(c.Args) == 2 {
		asked = c.Env.Table.All()
	}
	c.Map(len(asked))
	for _, cmd := range asked {
		c.BulkString(cmd.FullName())
		c.Out = appendDocs(c.Out, c.Session.Proto, cmd)
	}
}

func runCommandList(c *Ctx) {
	keep, ok := listFilter(c.Args[2:])
	if !ok {
		c.Error(resp.ErrTextSyntax)
		return
	}
	var names []string
	for i := range c.Env.Table.Len() {
		if cmd := c.Env.Table.ByIndex(i); keep(cmd) {
			names = append(names, cmd.FullName())
		}
	}
	c.Out = resp.AppendBulkArray(c.Out, names...)
}

// listFilter reads FILTERBY and what to filter by.
func listFilter(args [][]byte) (keep func(*Command) bool, ok bool) {
	if len(args) == 0 {
		return func(*Command) bool { return true }, true
	}
	if len(args) != 3 || !equalFold(args[0], "filterby") {
		return nil, false
	}
	switch by, what := args[1], strings.ToLower(string(args[2])); {
	case equalFold(by, "module"):
		return func(*Command) bool { return false }, true
	case equalFold(by, "aclcat"):
		category := categoryNamed(what)
		return func(c *Command) bool { return c.Categories&category != 0 }, true
	case equalFold(by, "pattern"):
		return func(c *Command) bool { return resp.Match([]byte(what), []byte(c.FullName())) }, true
	}
	return nil, false
}

func categoryNamed(name string) Categories {
	for i, n := range categoryNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

func runCommandGetKeys(c *Ctx) {
	c.eachKey(func(key []byte, _ KeyUse) { c.Bulk(key) })
}

func runCommandGetKeysAndFlags(c *Ctx) {
	c.eachKey(func(key []byte, use KeyUse) {
		c.Array(2)
		c.Bulk(key)
		c.Out = appendStatusSet(c.Out, c.Session.Proto, bitNames(uint32(use), keyUseNames[:]))
	})
}

// eachKey calls reply for each key in the call that Args[2:] is, after the
// header of their array, or replies an error.
func (c *Ctx) eachKey(reply func(key []byte, use KeyUse)) {
	call := c.Args[2:]
	cmd := c.Env.Table.Lookup(call[0])
	if cmd != nil && len(cmd.Sub) > 0 && len(call) > 1 {
		cmd = cmd.Subcommand(call[1])
	}
	switch {
	case cmd == nil:
		c.Error("ERR Invalid command specified")
		return
	case cmd.KeySpecs == nil:
		c.Error("ERR The command has no key arguments")
		return
	case !cmd.CheckArity(len(call)):
		c.Error("ERR Invalid number of arguments specified for command")
		return
	}
	n := 0
	for _, spec := range cmd.KeySpecs {
		spec.each(call, func([]byte) { n++ })
	}
	if n == 0 {
		c.Error("ERR Invalid arguments specified for command")
		return
	}
	c.Array(n)
	for _, spec := range cmd.KeySpecs {
		spec.each(call, func(key []byte) { reply(key, spec.Use) })
	}
}

// each calls fn for the keys of a call that the spec describes.
func (s KeySpec) each(call [][]byte, fn func(key []byte)) {
	last := s.Last + s.First
	if s.Last < 0 {
		last = s.Last + len(call)
	}
	for i := s.First; i <= min(last, len(call)-1); i += s.Step {
		fn(call[i])
	}
}

func runCommandHelp(c *Ctx) { c.Help("COMMAND") }

// Help replies the help of a container: each subcommand with its arguments and
// what it is for, made from the table.
func (c *Ctx) Help(container string) {
	cmd := c.Env.Table.Lookup([]byte(container))
	lines := []string{container + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	if cmd.runs() {
		lines = append(lines, "(no subcommand)", "    "+cmd.Summary)
	}
	for _, s := range cmd.Sub {
		lines = append(lines, strings.TrimSpace(strings.ToUpper(s.Name)+" "+Syntax(s.Args)), "    "+s.Summary)
	}
	c.Lines(lines...)
}

func appendStatusSet(out []byte, proto uint8, words []string) []byte {
	out = resp.AppendSetHeader(out, proto, len(words))
	for _, w := range words {
		out = redcon.AppendString(out, w)
	}
	return out
}
