package config

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write kvstore.toml.example and docs/configuration.md")

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for name, want := range map[string]string{
		"../kvstore.toml.example":  Example(),
		"../docs/configuration.md": Reference(),
	} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s differs from the registry; run go test ./config -update", name)
		}
	}
}

func TestExampleIsTheDefaults(t *testing.T) {
	settings, err := FromTOML("example", Example())
	if err != nil {
		t.Fatal(err)
	}
	if len(settings) != len(Fields()) {
		t.Errorf("the example has %d keys, the registry %d", len(settings), len(Fields()))
	}
	c, err := Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	c.Node.Name = ""
	for _, f := range Fields() {
		if got, want := c.Text(f.Key), Default().Text(f.Key); got != want {
			t.Errorf("%s = %q, want %q", f.Key, got, want)
		}
	}
}

func TestRegistry(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields() {
		if !regexp.MustCompile(`^[a-z]+\.[a-z_]+$`).MatchString(f.Key) || seen[f.Key] || !isSection(f.Section()) {
			t.Errorf("%s: not a key, not unique, or of no section", f.Key)
		}
		seen[f.Key] = true
		if f.Doc == "" || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s: documentation is not a sentence", f.Key)
		}
		settings, err := FromEnv([]string{f.Env() + "=x"})
		if err != nil || len(settings) != 1 || settings[0].Key != f.Key {
			t.Errorf("%s sets %v, %v", f.Env(), settings, err)
		}
	}
}
