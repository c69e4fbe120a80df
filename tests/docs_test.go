package tests

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every key of the configuration is explained in docs/configuration.md. The keys
// are those of kvstore.toml.example, which package config keeps equal to its own.
func TestEveryKeyIsDocumented(t *testing.T) {
	manual := text(t, "docs/configuration.md")
	section, keys := "", 0
	for lines := bufio.NewScanner(strings.NewReader(text(t, "kvstore.toml.example"))); lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
		} else if name, _, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(line, "#") {
			keys++
			if !strings.Contains(manual, section+"."+name) {
				t.Errorf("docs/configuration.md does not have %s.%s", section, name)
			}
		}
	}
	if keys < 20 {
		t.Errorf("found only %d keys", keys)
	}
}

var (
	codeBlock   = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	makeCommand = regexp.MustCompile(`^\$? ?make ([a-z]+)`)
	ownCommand  = regexp.MustCompile(`^\$? ?(?:go run \.|\./kvstore|kvstore) ([a-z]+)`)
	cliCommand  = regexp.MustCompile(`^\$? ?redis-cli (?:-[a-z3]( [0-9][^ ]*)? )*([a-zA-Z]+)`)
)

// What the documents tell people to type exists: targets of make, commands of
// kvstore, and commands that redis-cli sends.
func TestCommandsOfDocumentsExist(t *testing.T) {
	makefile, commands := text(t, "Makefile"), text(t, "docs/commands.md")
	own := map[string]bool{"server": true, "demo": true, "status": true, "ring": true, "cluster": true, "repair": true, "backup": true, "restore": true, "storage": true, "config": true, "version": true, "help": true}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range append(documents, filepath.Join(root, "README.md")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range codeBlock.FindAllStringSubmatch(string(b), -1) {
			for line := range strings.Lines(block[1]) {
				line = strings.TrimSpace(line)
				switch {
				case makeCommand.MatchString(line):
					found++
					if target := makeCommand.FindStringSubmatch(line)[1]; !strings.Contains(makefile, "\n"+target+": ") {
						t.Errorf("%s: make has no target %s", name, target)
					}
				case ownCommand.MatchString(line):
					found++
					if c := ownCommand.FindStringSubmatch(line)[1]; !own[c] {
						t.Errorf("%s: kvstore has no command %s", name, c)
					}
				case cliCommand.MatchString(line):
					found++
					if c := strings.ToUpper(cliCommand.FindStringSubmatch(line)[2]); !strings.Contains(commands, "`"+c) {
						t.Errorf("%s: the server has no command %s", name, c)
					}
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found only %d commands", found)
	}
}
