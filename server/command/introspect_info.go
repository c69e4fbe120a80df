package command

import (
	"github.com/tidwall/redcon"

	"kvstore/resp"
)

// appendInfo appends what COMMAND INFO says of a command: ten elements, in the
// order of Redis 7.
func appendInfo(out []byte, proto uint8, c *Command) []byte {
	out = redcon.AppendArray(out, 10)
	out = redcon.AppendBulkString(out, c.FullName())
	out = redcon.AppendInt(out, int64(c.Arity))
	out = appendStatusSet(out, proto, bitNames(uint32(c.Flags), flagNames[:]))
	out = redcon.AppendInt(out, int64(c.FirstKey))
	out = redcon.AppendInt(out, int64(c.LastKey))
	out = redcon.AppendInt(out, int64(c.Step))
	out = appendStatusSet(out, proto, c.CategoryNames())
	out = resp.AppendSetHeader(out, proto, len(c.Tips))
	for _, tip := range c.Tips {
		out = redcon.AppendBulkString(out, tip)
	}
	out = resp.AppendSetHeader(out, proto, len(c.KeySpecs))
	for _, spec := range c.KeySpecs {
		out = appendKeySpec(out, proto, spec)
	}
	if len(c.Sub) == 0 {
		return resp.AppendSetHeader(out, proto, 0)
	}
	out = redcon.AppendArray(out, len(c.Sub))
	for _, s := range c.Sub {
		out = appendInfo(out, proto, s)
	}
	return out
}

// CategoryNames lists the command's ACL categories as Redis writes them.
func (c *Command) CategoryNames() []string {
	names := bitNames(uint32(c.Categories), categoryNames[:])
	for i, n := range names {
		names[i] = "@" + n
	}
	return names
}

func appendKeySpec(out []byte, proto uint8, s KeySpec) []byte {
	n := 3
	if s.Note != "" {
		n++
	}
	out = resp.AppendMapHeader(out, proto, n)
	if s.Note != "" {
		out = appendPair(out, "notes", s.Note)
	}
	out = redcon.AppendBulkString(out, "flags")
	out = appendStatusSet(out, proto, bitNames(uint32(s.Use), keyUseNames[:]))

	out = redcon.AppendBulkString(out, "begin_search")
	out = resp.AppendMapHeader(out, proto, 2)
	out = appendPair(out, "type", "index")
	out = redcon.AppendBulkString(out, "spec")
	out = resp.AppendMapHeader(out, proto, 1)
	out = appendNumber(out, "index", s.First)

	out = redcon.AppendBulkString(out, "find_keys")
	out = resp.AppendMapHeader(out, proto, 2)
	out = appendPair(out, "type", "range")
	out = redcon.AppendBulkString(out, "spec")
	out = resp.AppendMapHeader(out, proto, 3)
	out = appendNumber(out, "lastkey", s.Last)
	out = appendNumber(out, "keystep", s.Step)
	return appendNumber(out, "limit", 0)
}

func appendPair(out []byte, name, value string) []byte {
	out = redcon.AppendBulkString(out, name)
	return redcon.AppendBulkString(out, value)
}

func appendNumber(out []byte, name string, n int) []byte {
	out = redcon.AppendBulkString(out, name)
	return redcon.AppendInt(out, int64(n))
}

// mapWriter appends a map whose length is known only at its end.
type mapWriter struct {
	proto uint8
	n     int
	body  []byte
}

func (m *mapWriter) text(name, value string) {
	if value != "" {
		m.n++
		m.body = appendPair(m.body, name, value)
	}
}

func (m *mapWriter) number(name string, n int) {
	m.n++
	m.body = appendNumber(m.body, name, n)
}

func (m *mapWriter) words(name string, words []string) {
	if len(words) > 0 {
		m.n++
		m.body = redcon.AppendBulkString(m.body, name)
		m.body = appendStatusSet(m.body, m.proto, words)
	}
}

// under begins an entry whose value the caller appends to body.
func (m *mapWriter) under(name string) {
	m.n++
	m.body = redcon.AppendBulkString(m.body, name)
}

func (m *mapWriter) appendTo(out []byte) []byte {
	return append(resp.AppendMapHeader(out, m.proto, m.n), m.body...)
}

// appendDocs appends what COMMAND DOCS says of a command.
func appendDocs(out []byte, proto uint8, c *Command) []byte {
	m := mapWriter{proto: proto}
	m.text("summary", c.Summary)
	m.text("since", c.Since)
	m.text("group", string(c.Group))
	m.text("complexity", c.Complexity)
	if c.Deprecated != "" {
		m.words("doc_flags", []string{"deprecated"})
		m.text("deprecated_since", c.Deprecated)
		m.text("replaced_by", c.ReplacedBy)
	}
	if len(c.History) > 0 {
		m.under("history")
		m.body = resp.AppendSetHeader(m.body, proto, len(c.History))
		for _, change := range c.History {
			m.body = resp.AppendBulkArray(m.body, change.Since, change.What)
		}
	}
	if len(c.Args) > 0 {
		m.under("arguments")
		m.body = appendArgs(m.body, proto, c.Args)
	}
	if len(c.Sub) > 0 {
		m.under("subcommands")
		m.body = resp.AppendMapHeader(m.body, proto, len(c.Sub))
		for _, s := range c.Sub {
			m.body = redcon.AppendBulkString(m.body, s.FullName())
			m.body = appendDocs(m.body, proto, s)
		}
	}
	return m.appendTo(out)
}

func appendArgs(out []byte, proto uint8, args []Arg) []byte {
	out = redcon.AppendArray(out, len(args))
	for _, a := range args {
		out = a.appendTo(out, proto)
	}
	return out
}

func (a Arg) appendTo(out []byte, proto uint8) []byte {
	m := mapWriter{proto: proto}
	m.text("name", a.Name)
	m.text("type", a.Type.String())
	if len(a.Args) == 0 {
		if a.Display != "" {
			m.text("display_text", a.Display)
		} else {
			m.text("display_text", a.Name)
		}
	}
	if a.Type == ArgKey {
		m.number("key_spec_index", a.KeySpec)
	}
	m.text("token", a.Token)
	m.text("since", a.Since)
	m.words("flags", bitNames(uint32(a.Flags), argFlagNames[:]))
	if len(a.Args) > 0 {
		m.under("arguments")
		m.body = appendArgs(m.body, proto, a.Args)
	}
	return m.appendTo(out)
}
