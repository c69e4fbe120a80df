package command

import (
	"context"
	"strconv"
	"time"

	"kvstore/resp"
)

// serverCommands is what clients ask of the node as a whole.
func serverCommands() []*Command {
	flush := []Arg{oneOf("flush-type", tokenArg("async", "ASYNC").since("4.0.0"), tokenArg("sync", "SYNC").since("6.2.0")).optional()}
	flushTips := []string{"request_policy:all_shards", "response_policy:all_succeeded"}
	all := []*Command{
		{
			Name: "time", Arity: 1, Flags: Loading | Stale | Fast, Since: "2.6.0", Complexity: "O(1)",
			Tips:    []string{"nondeterministic_output"},
			Summary: "Returns the node's clock: Unix seconds, and microseconds of the second.",
			Local:   runTime,
		},
		{
			Name: "dbsize", Arity: 1, Flags: ReadOnly | Fast, Since: "1.0.0", Categories: CatKeyspace,
			Complexity: "O(N) where N is the number of keys",
			Tips:       []string{"request_policy:all_shards", "response_policy:agg_sum"},
			Summary:    "Returns the number of keys in the database, on all nodes together.",
			Wait:       runDBSize,
		},
		{
			Name: "shutdown", Arity: -1, Flags: Admin | NoScript | Loading | Stale | NoMulti | AllowBusy, Since: "1.0.0",
			Complexity: "O(1)",
			History:    []Change{{"7.0.0", "Added `NOW`, `FORCE` and `ABORT`."}},
			Summary:    "Stops the node once running commands are answered. Everything acknowledged is kept, with or without SAVE.",
			Args: []Arg{
				oneOf("save-selector", tokenArg("nosave", "NOSAVE"), tokenArg("save", "SAVE")).optional(),
				tokenArg("now", "NOW").since("7.0.0").optional(),
				tokenArg("force", "FORCE").since("7.0.0").optional(),
				tokenArg("abort", "ABORT").since("7.0.0").optional()},
			Local: runShutdown,
		},
		{
			Name: "role", Arity: 1, Flags: NoScript | Loading | Stale | Fast, Since: "2.8.12", Complexity: "O(1)",
			Categories: CatAdmin | CatDangerous,
			Summary:    "Returns the role master, which every node has.",
			Local:      runRole,
		},
		{
			Name: "flushdb", Arity: -1, Flags: Write, Since: "1.0.0", Categories: CatKeyspace | CatDangerous, Tips: flushTips,
			Complexity: "O(N) where N is the number of partitions",
			Summary:    "Removes all keys of the database, on all nodes.",
			Args:       flush,
			Wait:       func(ctx context.Context, c *Ctx) { c.flush(ctx, int(c.Session.DB)) },
		},
		{
			Name: "flushall", Arity: -1, Flags: Write, Since: "1.0.0", Categories: CatKeyspace | CatDangerous, Tips: flushTips,
			Complexity: "O(N) where N is the number of partitions",
			Summary:    "Removes all keys of all databases, on all nodes.",
			Args:       flush,
			Wait:       func(ctx context.Context, c *Ctx) { c.flush(ctx, -1) },
		},
		infoCommand(),
		configCommand(),
	}
	for _, c := range all {
		inFamily(c, GroupServer, 0)
	}
	return append(all, waitCommand())
}

// waitCommand is WAIT, which Redis files under generic.
func waitCommand() *Command {
	return &Command{
		Name: "wait", Arity: 3, Flags: Blocking, Since: "3.0.0", Group: GroupGeneric, Categories: CatConnection,
		Complexity: "O(1)",
		Tips:       []string{"request_policy:all_shards", "response_policy:agg_min"},
		Summary:    "Returns how many nodes besides the first hold every write acknowledged so far: W-1. Nothing is left to wait for.",
		Args:       []Arg{integerArg("numreplicas"), integerArg("timeout")},
		Local:      runWait,
	}
}

func runTime(c *Ctx) {
	now := time.Now()
	c.Array(2)
	c.BulkString(strconv.FormatInt(now.Unix(), 10))
	c.BulkString(strconv.Itoa(now.Nanosecond() / 1000))
}

func runDBSize(ctx context.Context, c *Ctx) {
	n, err := c.Env.Cluster.CountKeys(ctx, c.Session.DB)
	if err != nil {
		c.Err = err
		return
	}
	c.Int(n)
}

// flush empties a database, or all of them when db is negative. It is done when
// it replies; ASYNC changes nothing.
func (c *Ctx) flush(ctx context.Context, db int) {
	if len(c.Args) > 2 || len(c.Args) == 2 && !equalFold(c.Args[1], "async") && !equalFold(c.Args[1], "sync") {
		c.Error(resp.ErrTextSyntax)
		return
	}
	if err := c.Env.Cluster.FlushDB(ctx, db); err != nil {
		c.Err = err
		return
	}
	c.OK()
}

func runRole(c *Ctx) {
	c.Array(3)
	c.BulkString("master")
	c.Int(0)
	c.Array(0)
}

// runShutdown replies nothing: the end of the connection is the answer.
func runShutdown(c *Ctx) {
	var save, nosave, abort, other bool
	for _, a := range c.Args[1:] {
		switch {
		case equalFold(a, "save"):
			save = true
		case equalFold(a, "nosave"):
			nosave = true
		case equalFold(a, "abort"):
			abort = true
		case equalFold(a, "now"), equalFold(a, "force"):
			other = true
		default:
			c.Error(resp.ErrTextSyntax)
			return
		}
	}
	switch {
	case save && nosave || abort && (save || nosave || other):
		c.Error(resp.ErrTextSyntax)
	case abort:
		c.Error("ERR No shutdown in progress.")
	default:
		c.Session.Close = true
		c.Env.Shutdown(!nosave)
	}
}

// runWait answers at once: a write is acknowledged when W replicas have it, so
// waiting longer could promise nothing more.
func runWait(c *Ctx) {
	if _, ok := resp.ParseInt64(c.Args[1]); !ok {
		c.Error(resp.ErrTextNotInteger)
		return
	}
	timeout, ok := resp.ParseInt64(c.Args[2])
	switch {
	case !ok:
		c.Error("ERR timeout is not an integer or out of range")
	case timeout < 0:
		c.Error("ERR timeout is negative")
	default:
		c.Int(int64(c.writtenReplicas() - 1))
	}
}

// writtenReplicas is how many nodes at least hold an acknowledged write of this
// session.
func (c *Ctx) writtenReplicas() int {
	n, configured := c.Env.Cluster.Replication()
	if r := c.Env.Cluster.Ring(); r != nil {
		n = r.EffectiveN()
	}
	// Levels within a data centre are met by one node at least; how many hold
	// the key there differs from key to key.
	return max(1, min(n, c.levels().Or(configured).W.Count(n, 1)))
}
