package command

import (
	"fmt"
	"slices"
	"strings"

	"kvstore/cluster/coordinator"
)

// Table holds every command the server answers.
type Table struct {
	sorted []*Command // by name
	every  []*Command // with subcommands, by Index
	ops    []*coordinator.Op
	slots  []*Command // open addressing over hashName; a power of two
	mask   uint32
}

// families lists all commands. Each family is a function in its own file.
func families() []*Command {
	return slices.Concat(
		stringCommands(),
		keyCommands(),
		introspectionCommands(),
		connectionCommands(),
		serverCommands(),
		clusterCommands(),
		kvstoreCommands(),
	)
}

// longestName bounds the names of commands, so that a name is lowered into an
// array on the stack.
const longestName = 32

// NewTable joins the families. It panics when two commands share a name or a
// declaration contradicts itself, which is a mistake in the program.
func NewTable() *Table { return newTable(families()) }

func newTable(commands []*Command) *Table {
	t := &Table{sorted: commands}
	slices.SortFunc(t.sorted, func(a, b *Command) int { return strings.Compare(a.Name, b.Name) })
	// At most a quarter full: most names are found, and most strangers refused,
	// with the first probe.
	size := 4
	for size < 4*len(commands) {
		size *= 2
	}
	t.slots, t.mask = make([]*Command, size), uint32(size-1)
	for _, c := range t.sorted {
		t.complete(c, "")
		i := hashName([]byte(c.Name)) & t.mask
		for ; t.slots[i] != nil; i = (i + 1) & t.mask {
			if t.slots[i].Name == c.Name {
				panic("two commands are named " + c.Name)
			}
		}
		t.slots[i] = c
	}
	return t
}

// complete fills what follows from the rest of c's declaration and checks it.
func (t *Table) complete(c *Command, container string) {
	c.full = container + c.Name
	c.index = len(t.every)
	t.every = append(t.every, c)
	c.Categories |= c.Flags.implied()
	for _, op := range c.operations() {
		t.addOp(op)
	}
	if c.KeySpecs == nil && c.FirstKey > 0 {
		last := c.LastKey
		if last > 0 {
			last -= c.FirstKey
		}
		c.KeySpecs = []KeySpec{{First: c.FirstKey, Last: last, Step: c.Step, Use: c.KeyUse, Note: c.KeyNote}}
	}
	slices.SortFunc(c.Sub, func(a, b *Command) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range c.Sub {
		if s.Group == "" {
			s.Group = c.Group
		}
		t.complete(s, c.Name+"|")
	}
	if problem := c.problem(); problem != "" {
		panic(fmt.Sprintf("command %s: %s", c.full, problem))
	}
}

// operations lists what a command may run on a key.
func (c *Command) operations() []*coordinator.Op {
	ops := c.Runs
	if c.Op != nil {
		ops = append(ops, c.Op)
	}
	if c.Scatter != nil {
		ops = append(ops, c.Scatter.Op)
	}
	return ops
}

func (t *Table) addOp(op *coordinator.Op) {
	for _, o := range t.ops {
		if o == op {
			return
		}
		if o.Name == op.Name {
			panic("two operations are named " + op.Name)
		}
	}
	t.ops = append(t.ops, op)
}

// problem says what in a declaration cannot be.
func (c *Command) problem() string {
	halves := 0
	for _, set := range []bool{c.Local != nil, c.Op != nil, c.Scatter != nil, c.Wait != nil, c.Rewrite != nil} {
		if set {
			halves++
		}
	}
	switch {
	case c.Name == "" || len(c.Name) > longestName || c.Name != strings.ToLower(c.Name):
		return "the name is not lower case of a bounded length"
	case c.Arity == 0:
		return "no arity"
	case halves > 1 || halves == 0 && len(c.Sub) == 0:
		return "not exactly one of Local, Op, Scatter, Wait and Rewrite"
	case c.FirstKey > 0 && (c.Step <= 0 || c.LastKey == 0):
		return "a first key without the others"
	case (c.Op != nil || c.Scatter != nil) && c.FirstKey == 0:
		return "an operation without a key"
	case c.Op != nil && c.Op.Write != c.Writes():
		return "its operation and its flags disagree on writing"
	}
	return ""
}

// Lookup finds a command by its name in any case; nil if there is none.
func (t *Table) Lookup(name []byte) *Command {
	if len(name) > longestName {
		return nil
	}
	for i := hashName(name) & t.mask; ; i = (i + 1) & t.mask {
		c := t.slots[i]
		if c == nil || equalFold(name, c.Name) {
			return c
		}
	}
}

// Resolve finds the command that args, which are not empty, call: a command or
// a subcommand, with a number of arguments it takes. When there is none it
// returns nil and out with the error for the client.
func (t *Table) Resolve(out []byte, args [][]byte) (*Command, []byte) {
	c := t.Lookup(args[0])
	if c == nil {
		return nil, AppendUnknownCommand(out, args)
	}
	if len(c.Sub) > 0 && len(args) > 1 {
		sub := c.Subcommand(args[1])
		if sub == nil {
			return nil, appendUnknownSubcommand(out, c, args[1])
		}
		c = sub
	}
	if !c.CheckArity(len(args)) || c.Scatter != nil && !c.Scatter.whole(c, len(args)) || !c.runs() {
		return nil, AppendArityError(out, c)
	}
	return c, out
}

// runs reports whether the command has a running half.
func (c *Command) runs() bool {
	return c.Op != nil || c.Local != nil || c.Scatter != nil || c.Wait != nil || c.Rewrite != nil
}

// All lists the commands by name. The slice is the table's own.
func (t *Table) All() []*Command { return t.sorted }

// Ops lists every operation that may be brought to a key, each with a name of
// its own. All nodes of a cluster need the same.
func (t *Table) Ops() []*coordinator.Op { return t.ops }

// Len counts commands and subcommands; every Index is below it.
func (t *Table) Len() int { return len(t.every) }

// ByIndex is the command or subcommand with that Index.
func (t *Table) ByIndex(i int) *Command { return t.every[i] }

// find looks a name up as COMMAND writes it: "get" or "config|get".
func (t *Table) find(name []byte) *Command {
	container, sub, nested := strings.Cut(string(name), "|")
	c := t.Lookup([]byte(container))
	if c == nil || !nested {
		return c
	}
	return c.Subcommand([]byte(sub))
}

// hashName mixes the length and three letters of a name, which tell nearly all
// names of commands apart, without regard to case: the bit that is set folds
// capitals to small letters, and other characters harmlessly.
func hashName(name []byte) uint32 {
	const fold = 0x20
	n := len(name)
	if n == 0 {
		return 0
	}
	h := uint32(name[0]|fold) | uint32(name[n/2]|fold)<<8 | uint32(name[n-1]|fold)<<16 | uint32(n)<<24
	h *= 0x9E3779B1
	return h ^ h>>15
}

// equalFold reports whether name is the lower-case word, in any case.
func equalFold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}
