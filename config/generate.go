package config

import (
	"fmt"
	"strings"
)

// lineWidth is where comments of the example file are broken.
const lineWidth = 78

// Example is the text of kvstore.toml.example: every key at its default.
func Example() string {
	c := Default()
	var b strings.Builder
	b.WriteString("# Configuration of a kvstore node. Every key is here with its default.\n" +
		"# A key is also a flag (--server.listen=...) and a variable\n" +
		"# (KVSTORE_SERVER_LISTEN=...): the file gives way to the variable, the variable\n" +
		"# to the flag. `kvstore config check` shows what holds and why.\n")
	for _, s := range sections() {
		b.WriteString("\n" + comment(s.doc) + "[" + s.name + "]\n")
		for _, f := range Fields() {
			if f.Section() == s.name {
				b.WriteString("\n" + comment(f.Doc) + comment("Allowed: "+f.Allowed()+".") + f.Name() + " = " + f.at(c).toml() + "\n")
			}
		}
	}
	return b.String()
}

// comment is text as comment lines of at most lineWidth bytes where words allow.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > lineWidth {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	return b.String()
}

// Reference is the text of docs/configuration.md.
func Reference() string {
	c := Default()
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"Written from the table in `config/fields.go`; `go test ./config -update` writes it again.\n\n" +
		"A node reads `kvstore.toml` in its working directory, or the file named by `--config` or `KVSTORE_CONFIG`. " +
		"Every key `section.key` is also a flag `--section.key=value` and a variable `KVSTORE_SECTION_KEY`. " +
		"The file gives way to the variable, the variable to the flag. An unknown key or a value that is not allowed ends the command with a line that names it.\n\n" +
		"Sizes are whole numbers with `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024) or `KB`, `MB`, `GB`, `TB` (powers of 1000). " +
		"Durations are written `500ms`, `1s`, `1h30m`. A list is an array in the file and separated by commas in a flag or a variable.\n\n" +
		"Keys marked *live* can be changed while the node runs, with `CONFIG SET section.key value`; the change lasts until the node ends.\n")
	for _, s := range sections() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | default | allowed | |\n|---|---|---|---|\n", s.name, s.doc)
		for _, f := range Fields() {
			if f.Section() != s.name {
				continue
			}
			doc := f.Doc
			if f.Runtime {
				doc += " *Live.*"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Key, f.at(c).toml(), f.Allowed(), doc)
		}
	}
	return b.String()
}

// File is the text of a configuration file that holds settings and nothing
// else, in the order of the registry.
func File(c *Config) string {
	var b strings.Builder
	for _, s := range sections() {
		heading := "[" + s.name + "]\n"
		for _, f := range Fields() {
			if _, set := c.origins[f.Key]; set && f.Section() == s.name {
				b.WriteString(heading + f.Name() + " = " + f.at(c).toml() + "\n")
				heading = ""
			}
		}
	}
	return b.String()
}
