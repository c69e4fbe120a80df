package command

import (
	"slices"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/version"
)

func TestLookup(t *testing.T) {
	table := NewTable()
	for _, c := range table.All() {
		for _, name := range []string{c.Name, upper(c.Name), upper(c.Name[:1]) + c.Name[1:]} {
			if got := table.Lookup([]byte(name)); got != c {
				t.Errorf("%q found %v", name, got)
			}
		}
	}
	for _, name := range []string{"", "ge", "gett", "g\x05t", "GET ", "\x00", strings.Repeat("g", 33), strings.Repeat("set", 1000)} {
		if got := table.Lookup([]byte(name)); got != nil {
			t.Errorf("%q found %s", name, got.Name)
		}
	}
}

// Every probe sequence ends, and is short.
func TestLookupProbes(t *testing.T) {
	table := NewTable()
	longest, run := 0, 0
	for _, c := range append(slices.Clone(table.slots), table.slots...) {
		run++
		if c == nil {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 6 {
		t.Errorf("%d occupied places in a row", longest)
	}
}

func TestResolve(t *testing.T) {
	c := newFakeClient(t)
	long := strings.Repeat("x", 200)
	c.script(`
		nosuch => -ERR unknown command 'nosuch', with args beginning with:
		nosuch a b => -ERR unknown command 'nosuch', with args beginning with: 'a' 'b'
		GET => -ERR wrong number of arguments for 'get' command
		COMMAND nosuch => -ERR unknown subcommand 'nosuch'. Try COMMAND HELP.
		COMMAND GETKEYS => -ERR wrong number of arguments for 'command|getkeys' command
		COMMAND COUNT x => -ERR wrong number of arguments for 'command|count' command`)
	if got, want := c.do(long), "-ERR unknown command '"+long[:128]+"', with args beginning with: \r\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got := c.do("nosuch", long, "y"); len(got) > 200 {
		t.Errorf("an error of %d bytes", len(got))
	}
	if got, want := c.do("a\r\nb"), "-ERR unknown command 'a  b', with args beginning with: \r\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestTableRefusesMistakes(t *testing.T) {
	op := &coordinator.Op{Name: "x", Run: runGet}
	good := func() *Command { return oneKey(KeyRO, &Command{Name: "x", Arity: 2, Op: op}) }
	newTable([]*Command{good()})
	for name, spoil := range map[string]func(c *Command){
		"upper case":     func(c *Command) { c.Name = "X" },
		"no arity":       func(c *Command) { c.Arity = 0 },
		"nothing to run": func(c *Command) { c.Op = nil },
		"two halves":     func(c *Command) { c.Local = runCommand },
		"no key":         func(c *Command) { c.FirstKey = 0 },
		"no step":        func(c *Command) { c.Step = 0 },
		"writes":         func(c *Command) { c.Flags |= Write },
		"operation twice": func(c *Command) {
			c.Runs = []*coordinator.Op{{Name: "x"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			spoil(c)
			defer func() {
				if recover() == nil {
					t.Error("was taken")
				}
			}()
			newTable([]*Command{c})
		})
	}
	t.Run("one name twice", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("was taken")
			}
		}()
		newTable([]*Command{good(), good()})
	})
}

func TestOperationsHaveNames(t *testing.T) {
	var names []string
	for _, op := range NewTable().Ops() {
		if op.Run == nil || op.Name == "" || op.Name != strings.ToLower(op.Name) {
			t.Errorf("operation %q", op.Name)
		}
		names = append(names, op.Name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(NewTable().Ops()) {
		t.Error("two operations share a name")
	}
	for _, want := range []string{"get", "set", "del", "move-fetch", "msetnx-set"} {
		if !slices.Contains(names, want) {
			t.Errorf("no operation %s", want)
		}
	}
}

// Everything a client may read of a command is there.
func TestDeclarations(t *testing.T) {
	table := NewTable()
	for i := range table.Len() {
		c := table.ByIndex(i)
		if c.Index() != i {
			t.Errorf("%s: index %d at %d", c.FullName(), c.Index(), i)
		}
		if c.Summary == "" || c.Since == "" || c.Group == "" {
			t.Errorf("%s: no summary, since or group", c.FullName())
		}
		if c.runs() && c.Complexity == "" {
			t.Errorf("%s: no complexity", c.FullName())
		}
		if !strings.HasSuffix(c.Summary, ".") || strings.Contains(c.Summary, "\n") {
			t.Errorf("%s: summary %q", c.FullName(), c.Summary)
		}
		if c.Flags&Write != 0 && c.Flags&ReadOnly != 0 {
			t.Errorf("%s: writes and only reads", c.FullName())
		}
	}
}

func TestKeysOfACall(t *testing.T) {
	table := NewTable()
	for _, tt := range []struct {
		call     string
		n, first int
	}{
		{"get a", 1, 1}, {"mget a b c", 3, 1}, {"mset a 1 b 2", 2, 1}, {"rename a b", 2, 1}, {"keys *", 0, 0}, {"mget", 0, 0},
	} {
		var args [][]byte
		for w := range strings.FieldsSeq(tt.call) {
			args = append(args, []byte(w))
		}
		if n, first, _ := table.Lookup(args[0]).Keys(args); n != tt.n || first != tt.first {
			t.Errorf("%s: %d keys from %d", tt.call, n, first)
		}
	}
}

// hotPaths is what runs for every request.
func hotPaths() map[string]func() {
	table := NewTable()
	names := [][]byte{[]byte("GET"), []byte("set"), []byte("INCRBYFLOAT"), []byte("Del")}
	paths := map[string]func(){
		"lookup":  func() { table.Lookup(names[0]); table.Lookup(names[1]); table.Lookup(names[2]); table.Lookup(names[3]) },
		"resolve": func() { table.Resolve(nil, [][]byte{names[0], names[1]}) },
	}
	for _, call := range []string{"get key", "set key value", "set key value EX 100 XX GET", "incrby key 5", "append key value", "ttl key"} {
		c := &coordinator.Call{Now: testNow, MaxValue: coordinator.DefaultMaxValue, Object: new(version.Object), Exists: true, Value: []byte("12345"), Out: make([]byte, 0, 128), Buf: make([]byte, 0, 128)}
		for word := range strings.FieldsSeq(call) {
			c.Args = append(c.Args, []byte(word))
		}
		op := table.Lookup(c.Args[0]).Op
		paths[call] = func() {
			c.Out = c.Out[:0]
			op.Run(c)
		}
	}
	return paths
}

func TestHotPathsAllocateNothing(t *testing.T) {
	for name, run := range hotPaths() {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The time of lookup is for four names.
func BenchmarkHotPaths(b *testing.B) {
	for name, run := range hotPaths() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
