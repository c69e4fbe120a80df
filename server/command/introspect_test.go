package command

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

// docs/commands.md is what the table says.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "commands.md")
	want := NewTable().Manual()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says: go test ./server/command -run TestDocs -update", path)
	}
}

func TestSyntax(t *testing.T) {
	table := NewTable()
	for name, want := range map[string]string{
		"get":          "key",
		"set":          "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
		"mset":         "key value [key value ...]",
		"mget":         "key [key ...]",
		"scan":         "cursor [MATCH pattern] [COUNT count] [TYPE type]",
		"copy":         "source destination [DB destination-db] [REPLACE]",
		"command|list": "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
		"command|info": "[command-name [command-name ...]]",
	} {
		if got := Syntax(table.find([]byte(name)).Args); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestCommand(t *testing.T) {
	c := newFakeClient(t)
	count := strconv.Itoa(len(c.env.Table.All()))
	for range 2 { // in RESP2 and RESP3
		all := parseReply(t, c.do("COMMAND"))
		if all.text != count || parseReply(t, c.do("COMMAND", "INFO")).String() != all.String() {
			t.Errorf("COMMAND has %s elements, want %s, and the same as COMMAND INFO", all.text, count)
		}
		for _, info := range all.list {
			if len(info.list) != 10 {
				t.Errorf("%s has %d elements", info.list[0], len(info.list))
			}
		}
		if docs := parseReply(t, c.do("COMMAND", "DOCS")); len(docs.list) != 2*len(c.env.Table.All()) {
			t.Errorf("COMMAND DOCS has %d elements", len(docs.list))
		}
		parseReply(t, c.do("COMMAND", "HELP"))
		c.session.Proto = 3
	}
	c.session.Proto = 2
	if got := shown(c.do("COMMAND", "COUNT")); got != ":"+count {
		t.Errorf("COMMAND COUNT: %s", got)
	}
	c.script(`
		COMMAND INFO nosuch => *1 $-1
		COMMAND INFO command|nosuch => *1 $-1
		COMMAND DOCS nosuch => *0
		COMMAND GETKEYS get a => *1 $1 a
		COMMAND GETKEYS mset a 1 b 2 => *2 $1 a $1 b
		COMMAND GETKEYS rename a b => *2 $1 a $1 b
		COMMAND GETKEYS nosuch a => -ERR Invalid command specified
		COMMAND GETKEYS keys * => -ERR The command has no key arguments
		COMMAND GETKEYS command count => -ERR The command has no key arguments
		COMMAND GETKEYS get => -ERR Invalid number of arguments specified for command
		COMMAND GETKEYSANDFLAGS get a => *1 *2 $1 a *2 +RO +access
		COMMAND GETKEYSANDFLAGS rename a b => *2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update
		COMMAND LIST FILTERBY PATTERN *incrby* => *2 $6 incrby $11 incrbyfloat
		COMMAND LIST FILTERBY PATTERN COMMAND|GETKEYS => *1 $15 command|getkeys
		COMMAND LIST FILTERBY MODULE json => *0
		COMMAND LIST FILTERBY ACLCAT nosuch => *0
		COMMAND LIST FILTERBY ACLCAT => -ERR syntax error
		COMMAND LIST FILTERBY WHAT x => -ERR syntax error
		COMMAND LIST x => -ERR syntax error`)
	if got := c.do("COMMAND", "LIST", "FILTERBY", "ACLCAT", "DANGEROUS"); !strings.Contains(got, "\r\nkeys\r\n") {
		t.Errorf("keys is not dangerous in %q", got)
	}
	if all := parseReply(t, c.do("COMMAND", "LIST")); len(all.list) != c.env.Table.Len() {
		t.Errorf("COMMAND LIST has %d names of %d", len(all.list), c.env.Table.Len())
	}
}
