package command

import (
	"fmt"
	"slices"
	"strings"
)

// Syntax writes arguments as manuals do: [NX | XX] [EX seconds] key [key ...].
func Syntax(args []Arg) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.syntax()
	}
	return strings.Join(parts, " ")
}

func (a Arg) syntax() string {
	text := a.bare()
	if a.Type != ArgPureToken && a.Token != "" {
		text = a.Token + " " + text
	}
	if a.Flags&Multiple != 0 {
		again := a.bare()
		if a.Flags&MultipleToken != 0 {
			again = text
		}
		text += " [" + again + " ...]"
	}
	if a.Flags&Optional != 0 {
		text = "[" + text + "]"
	}
	return text
}

// bare is the argument without its token, how often it may come, and brackets.
func (a Arg) bare() string {
	switch a.Type {
	case ArgPureToken:
		return a.Token
	case ArgBlock:
		return Syntax(a.Args)
	case ArgOneOf:
		choices := make([]string, len(a.Args))
		for i, choice := range a.Args {
			choices[i] = choice.syntax()
		}
		text := strings.Join(choices, " | ")
		if a.Flags&Optional == 0 || a.Token != "" {
			text = "<" + text + ">"
		}
		return text
	}
	if a.Display != "" {
		return a.Display
	}
	return a.Name
}

// Manual writes docs/commands.md: the commands of each group, then every
// command of Redis 7.2 and whether it is here.
func (t *Table) Manual() string {
	var b strings.Builder
	b.WriteString(manualIntro)
	for _, g := range []struct {
		group Group
		title string
	}{
		{GroupString, "Strings"}, {GroupGeneric, "Keys"}, {GroupConnection, "Connection"}, {GroupServer, "Server"},
		{GroupCluster, "Cluster"}, {GroupKvstore, "Consistency and versions"},
	} {
		t.writeGroup(&b, g.group, g.title)
	}
	t.writeCompatibility(&b)
	return b.String()
}

const manualIntro = `# Commands

This page is made from the command table of the server; ` + "`go test ./server/command -run TestDocs -update`" + ` writes it anew.

Replies and errors are those of Redis 7.2. Where a command differs, its line says how. *Write* marks commands that
change keys. Commands on several keys work across slots on any node; each key is atomic, the command as a whole is not.
`

func (t *Table) writeGroup(b *strings.Builder, g Group, title string) {
	var rows []*Command
	for _, c := range t.every {
		if c.Group == g && c.runs() {
			rows = append(rows, c)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| command | what it does | cost |\n|---|---|---|\n", title)
	for _, c := range rows {
		call := strings.TrimSpace(c.title() + " " + Syntax(c.Args))
		summary := c.Summary
		if c.Writes() {
			summary += " *Write.*"
		}
		if c.Deprecated != "" {
			summary += " Since Redis " + c.Deprecated + " prefer " + c.ReplacedBy + "."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(call), cell(summary), cell(c.Complexity))
	}
}

// title is the command as one types it: CONFIG GET.
func (c *Command) title() string { return upper(strings.ReplaceAll(c.full, "|", " ")) }

// cell keeps a table's own bars out of its cells.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func (t *Table) writeCompatibility(b *strings.Builder) {
	groups := redisCommands()
	known, total := 0, 0
	names := map[string]bool{}
	var rows strings.Builder
	for _, g := range groups {
		var have, lack []string
		for _, name := range g.names {
			names[name] = true
			total++
			shown := "`" + cell(upper(strings.ReplaceAll(name, "|", " "))) + "`"
			if t.has(name) {
				known++
				have = append(have, shown)
			} else {
				lack = append(lack, shown)
			}
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", g.group, strings.Join(have, " "), strings.Join(lack, " "))
	}
	fmt.Fprintf(b, "\n## Compatibility with Redis 7.2\n\n%d of the %d commands and subcommands of Redis 7.2 are here. "+
		"The others answer `ERR unknown command` or `ERR unknown subcommand`.\n\n"+
		"| group | here | not here |\n|---|---|---|\n%s", known, total, rows.String())
	var own []string
	for _, c := range t.every {
		if !names[c.full] && c.runs() {
			own = append(own, "`"+c.title()+"`")
		}
	}
	slices.Sort(own)
	if len(own) > 0 {
		fmt.Fprintf(b, "\nNot in Redis: %s.\n", strings.Join(own, " "))
	}
}

// has reports whether a command of Redis, named as COMMAND LIST names it, is in
// the table.
func (t *Table) has(name string) bool { return t.find([]byte(name)) != nil }

func upper(s string) string { return strings.ToUpper(s) }
