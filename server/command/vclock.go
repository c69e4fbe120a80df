package command

import (
	"strconv"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/resp"
)

// vclockCommand is VCLOCK: the siblings of a key, and writes that say what
// their writer had seen.
func vclockCommand() *Command {
	context := stringArg("context")
	c := &Command{
		Name: "vclock", Arity: -2, Since: ourVersion, Complexity: "Depends on subcommand.",
		Summary: "Contains the commands on versions: concurrent values of a key, and writes with a context.",
		Sub: []*Command{
			{
				Name: "get", Arity: 3, Flags: ReadOnly | Fast, Since: ourVersion,
				Complexity: "O(N) where N is the number of siblings",
				FirstKey:   2, LastKey: 2, Step: 1, KeyUse: KeyRO | KeyAccess,
				Summary: "Returns the context of a key and all concurrent values, the newest first.",
				Args:    []Arg{keyArg("key")},
				Op:      &coordinator.Op{Name: "vclock|get", Run: runVClockGet},
			},
			{
				Name: "set", Arity: -5, Flags: Write | DenyOOM, Since: ourVersion, Complexity: "O(1)",
				FirstKey: 2, LastKey: 2, Step: 1, KeyUse: KeyRW | KeyUpdate,
				Summary: "Replaces what the context has seen by a value and returns the context with this write added; an empty context has seen nothing.",
				Args: []Arg{keyArg("key"), context, stringArg("value"), oneOf("expiration",
					integerArg("seconds").after("EX"), integerArg("milliseconds").after("PX"),
					timeArg("unix-time-seconds").after("EXAT"), timeArg("unix-time-milliseconds").after("PXAT"),
					tokenArg("keepttl", "KEEPTTL")).optional()},
				Op: &coordinator.Op{Name: "vclock|set", Write: true, Run: runVClockSet, After: replySeen},
			},
			{
				Name: "del", Arity: 4, Flags: Write, Since: ourVersion, Complexity: "O(1)",
				FirstKey: 2, LastKey: 2, Step: 1, KeyUse: KeyRW | KeyDelete,
				Summary: "Deletes what the context has seen and returns the context with this deletion added.",
				Args:    []Arg{keyArg("key"), context},
				Op:      &coordinator.Op{Name: "vclock|del", Write: true, Run: runVClockDel, After: replySeen},
			},
			{
				Name: "info", Arity: 3, Flags: ReadOnly, Since: ourVersion,
				Complexity: "O(N) where N is the number of siblings",
				FirstKey:   2, LastKey: 2, Step: 1, KeyUse: KeyRO,
				Summary: "Describes every sibling of a key: node, time, clock, size and kind.",
				Args:    []Arg{keyArg("key")},
				Op:      &coordinator.Op{Name: "vclock|info", Run: runVClockInfo},
			},
			{
				Name: "compare", Arity: 4, Flags: Fast, Since: ourVersion, Complexity: "O(1)",
				Summary: "Compares two contexts of one key: equal, before, after or concurrent.",
				Args:    []Arg{context, stringArg("context")},
				Local:   runVClockCompare,
			},
			{
				Name: "help", Arity: 2, Flags: Loading | Stale, Since: ourVersion, Complexity: "O(1)",
				Summary: "Explains the subcommands.",
				Local:   runVClockHelp,
			},
		},
	}
	inFamily(c, GroupKvstore, CatKeyspace)
	return c
}

func runVClockHelp(c *Ctx) {
	c.help("VCLOCK",
		"GET <key>", "    Return [context, [value ...]]: all siblings, the newest first.",
		"    The context is nil and there are no values when the key does not exist.",
		"SET <key> <context> <value> [EX <s>|PX <ms>|EXAT <ts>|PXAT <ms>|KEEPTTL]", "    Replace what the context has seen; return it with this write added.",
		"    An empty context has seen nothing: the value becomes a sibling of all others.",
		"DEL <key> <context>", "    Delete what the context has seen; return it with this deletion added.",
		"INFO <key>", "    Return node, time, clock, size and kind of every sibling.",
		"COMPARE <context> <context>", "    Return equal, before, after or concurrent.")
}

// runVClockGet replies [context, [value ...]].
func runVClockGet(c *coordinator.Call) {
	values := siblingValues(nil, c)
	c.Out = redcon.AppendArray(c.Out, 2)
	if len(values) == 0 {
		c.Out = resp.AppendNull(c.Out, c.Proto)
	} else {
		replyContext(c, &c.Object.Context)
	}
	c.Out = redcon.AppendArray(c.Out, len(values))
	for _, v := range values {
		c.Out = redcon.AppendBulk(c.Out, v)
	}
}

// siblingValues appends the living values of c's key, the newest first. Counter
// siblings are one value, together with the sibling they count from; it is the
// one that a plain GET returns.
func siblingValues(dst [][]byte, c *coordinator.Call) [][]byte {
	siblings := c.Object.Siblings
	base := -1 // what the counters count from
	if c.Counter {
		dst = append(dst, c.Value)
		for i := range siblings {
			if siblings[i].Kind != version.Counter {
				base = i
			}
		}
	}
	for i := len(siblings) - 1; i >= 0; i-- {
		if s := &siblings[i]; s.Kind == version.String && i != base && !version.Expired(s.Deadline, c.Now) {
			dst = append(dst, s.Value)
		}
	}
	return dst
}

// replySeen replies what the client has seen after its write: what its context
// covered and the event it has made. What is there beside that, it has not seen,
// and a write with this context leaves it there.
func replySeen(c *coordinator.Call) {
	if ctx := c.Context(); ctx != nil { // the command was not refused
		replyContext(c, ctx)
	}
}

// replyContext replies a context of c's key.
func replyContext(c *coordinator.Call, ctx *version.Context) {
	c.Out = redcon.AppendBulkString(c.Out, ctx.EncodeToken(c.ClusterID, ring.KeyHash(c.DB, c.Key)))
}

// parseContext reads a context of c's key. When it is none, it replies so.
func parseContext(c *coordinator.Call, token []byte) (*version.Context, bool) {
	ctx := new(version.Context)
	if err := ctx.ParseToken(token, c.ClusterID, ring.KeyHash(c.DB, c.Key)); err != nil {
		replyError(c, "ERR "+err.Error())
		return nil, false
	}
	return ctx, true
}

func runVClockSet(c *coordinator.Call) {
	var o setOptions
	if !o.parse(c.Args[5:], optKeepTTL|optsExpiry) {
		replyError(c, resp.ErrTextSyntax)
		return
	}
	deadline, ok := o.deadline(c.Now)
	if !ok {
		replyBadDeadline(c, o.expiry, "vclock|set")
		return
	}
	if o.has(optKeepTTL) {
		deadline = c.Deadline
	}
	ctx, ok := parseContext(c, c.Args[3])
	if !ok {
		return
	}
	c.Put(c.Args[4], deadline)
	c.WithContext(ctx)
}

func runVClockDel(c *coordinator.Call) {
	ctx, ok := parseContext(c, c.Args[3])
	if !ok {
		return
	}
	c.Remove()
	c.WithContext(ctx)
}

// runVClockInfo replies a map for every sibling, the newest first, tombstones
// and expired ones included: whatever a context has to cover.
func runVClockInfo(c *coordinator.Call) {
	siblings := c.Object.Siblings
	c.Out = redcon.AppendArray(c.Out, len(siblings))
	for i := len(siblings) - 1; i >= 0; i-- {
		s := &siblings[i]
		c.Out = resp.AppendMapHeader(c.Out, c.Proto, 5)
		c.Out = redcon.AppendBulkString(c.Out, "node")
		c.Out = redcon.AppendBulkString(c.Out, incarnationText(s.Node))
		c.Out = redcon.AppendBulkString(c.Out, "time")
		c.Out = redcon.AppendInt(c.Out, s.Time.Millis())
		c.Out = redcon.AppendBulkString(c.Out, "clock")
		appendClock(c, s)
		c.Out = redcon.AppendBulkString(c.Out, "size")
		c.Out = redcon.AppendInt(c.Out, int64(len(s.Value)))
		c.Out = redcon.AppendBulkString(c.Out, "kind")
		c.Out = redcon.AppendBulkString(c.Out, s.Kind.String())
	}
}

// appendClock appends a sibling's clock as [node, counter] pairs: its own event
// first, then what the siblings have seen in common, so that the clocks of
// siblings made at different nodes are concurrent. Counters are hybrid logical
// timestamps.
func appendClock(c *coordinator.Call, s *version.Sibling) {
	pairs := []version.Dot{s.Dot}
	for _, e := range c.Object.Context.Entries {
		if e.Node != s.Node && !c.Object.Has(e) {
			pairs = append(pairs, e)
		}
	}
	c.Out = redcon.AppendArray(c.Out, len(pairs))
	for _, e := range pairs {
		c.Out = redcon.AppendArray(c.Out, 2)
		c.Out = redcon.AppendBulkString(c.Out, incarnationText(e.Node))
		c.Out = redcon.AppendInt(c.Out, int64(e.Time))
	}
}

func incarnationText(i version.Incarnation) string {
	const digits = 16
	text := strconv.FormatUint(uint64(i), 16)
	return "0000000000000000"[:digits-len(text)] + text
}

func runVClockCompare(c *Ctx) {
	var contexts [2]version.Context
	var keys [2]uint64
	var bound [2]bool
	for i := range contexts {
		token := c.Args[2+i]
		if len(token) == 0 {
			continue // has seen nothing, of any key
		}
		clusterID, key, err := contexts[i].DecodeToken(token)
		if err == nil {
			if r := c.Env.Cluster.Ring(); r != nil && r.ClusterID != clusterID {
				err = version.ErrContextForeign
			}
		}
		if err != nil {
			c.Error("ERR " + err.Error())
			return
		}
		keys[i], bound[i] = key, true
	}
	if bound[0] && bound[1] && keys[0] != keys[1] {
		c.Error("ERR the contexts are of different keys")
		return
	}
	c.BulkString(version.CompareContexts(&contexts[0], &contexts[1]).String())
}
