package command

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"kvstore/resp"
)

// configCommand is CONFIG. It knows our own settings by their names
// ("replication.w") and beside them those of Redis's that clients ask for.
func configCommand() *Command {
	const flags = Admin | NoScript | Loading | Stale
	return &Command{
		Name: "config", Arity: -2, Since: "2.0.0", Complexity: "Depends on subcommand.",
		Summary: "Contains the commands on the configuration.",
		Sub: []*Command{
			{
				Name: "get", Arity: -3, Flags: flags, Since: "2.0.0",
				Complexity: "O(N) where N is the number of settings",
				History:    []Change{{"7.0.0", "Takes several patterns."}},
				Summary:    "Returns the settings whose names match the patterns.",
				Args:       []Arg{stringArg("parameter").multiple()},
				Local:      runConfigGet,
			},
			{
				Name: "set", Arity: -4, Flags: flags, Since: "2.0.0",
				Complexity: "O(N) where N is the number of settings given",
				History:    []Change{{"7.0.0", "Takes several settings."}},
				Tips:       []string{"request_policy:all_nodes", "response_policy:all_succeeded"},
				Summary:    "Changes settings of this node while it runs, all or none.",
				Args:       []Arg{block("data", stringArg("parameter"), stringArg("value")).multiple()},
				Local:      runConfigSet,
			},
			{
				Name: "resetstat", Arity: 2, Flags: flags, Since: "2.0.0", Complexity: "O(1)",
				Tips:    []string{"request_policy:all_nodes", "response_policy:all_succeeded"},
				Summary: "Sets the counters that INFO shows to zero.",
				Local:   func(c *Ctx) { c.Env.Stats.Reset(); c.OK() },
			},
			{
				Name: "help", Arity: 2, Flags: Loading | Stale, Since: "5.0.0", Complexity: "O(1)",
				Summary: "Explains the subcommands.",
				Local: func(c *Ctx) {
					c.help("CONFIG",
						"GET <pattern> [<pattern> ...]", "    Return parameters matching the glob-like <pattern> and their values.",
						"SET <directive> <value> [<directive> <value> ...]", "    Set the configuration <directive> to <value>, all or none.",
						"RESETSTAT", "    Reset statistics reported by the INFO command.")
				},
			},
		},
	}
}

func runConfigGet(c *Ctx) {
	found := map[string]string{}
	for _, p := range c.Args[2:] {
		pattern := bytes.ToLower(p)
		for _, s := range redisSettings() {
			if resp.Match(pattern, []byte(s.name)) {
				found[s.name] = s.get(c)
			}
		}
		for _, kv := range c.Env.Config.Get(string(pattern)) {
			found[kv[0]] = kv[1]
		}
	}
	c.Map(len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c.BulkString(name)
		c.BulkString(found[name])
	}
}

// change is one setting on its way from one value to another.
type change struct{ asked, key, value, before string }

func runConfigSet(c *Ctx) {
	if len(c.Args)%2 != 0 {
		c.Error(resp.ErrTextSyntax)
		return
	}
	var changes []change
	for i := 2; i < len(c.Args); i += 2 {
		ch, ok := c.planChange(strings.ToLower(string(c.Args[i])), string(c.Args[i+1]))
		if !ok {
			return
		}
		for _, other := range changes {
			if other.asked == ch.asked {
				c.configRefused(ch.asked, "duplicate parameter")
				return
			}
		}
		changes = append(changes, ch)
	}
	for i, ch := range changes {
		if ch.key == "" {
			continue
		}
		if err := c.Env.Config.Set(ch.key, ch.value); err != nil {
			// What was accepted once is accepted again.
			for _, done := range slices.Backward(changes[:i]) {
				if done.key != "" {
					_ = c.Env.Config.Set(done.key, done.before)
				}
			}
			c.configRefused(ch.asked, err.Error())
			return
		}
	}
	c.OK()
}

// planChange finds what stands behind a name. When it cannot be set, it replies
// so. A change without a key is none: the setting has that value for ever.
func (c *Ctx) planChange(name, value string) (_ change, ok bool) {
	ch := change{asked: name, key: name, value: value}
	if s := redisSetting(name); s != nil {
		current := s.get(c)
		switch {
		case s.key == "" && value != current:
			c.configRefused(name, "can't set immutable config, it is always '"+current+"'")
			return ch, false
		case s.key == "":
			ch.key = ""
			return ch, true
		}
		ch.key = s.key
		if s.from != nil {
			if ch.value, ok = s.from(value); !ok {
				c.configRefused(name, s.wants)
				return ch, false
			}
		}
	}
	ch.before, ok = c.setting(ch.key)
	if !ok {
		c.errorAbout("ERR Unknown option or number of arguments for CONFIG SET - '", []byte(name), "'")
	}
	return ch, ok
}

// setting is the value of one of our own settings.
func (c *Ctx) setting(key string) (value string, ok bool) {
	for _, kv := range c.Env.Config.Get(key) {
		if kv[0] == key {
			return kv[1], true
		}
	}
	return "", false
}

func (c *Ctx) configRefused(name, why string) {
	c.Error(printable([]byte("ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + why)))
}
