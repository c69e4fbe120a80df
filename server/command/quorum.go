package command

import (
	"context"
	"strconv"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// ourVersion is since when our own commands are there.
const ourVersion = "0.1.0"

// kvstoreCommands are those that Redis does not have.
func kvstoreCommands() []*Command { return []*Command{quorumCommand(), vclockCommand()} }

// quorumCommand is QUORUM: how many replicas must answer.
func quorumCommand() *Command {
	const flags = Loading | Stale
	level := func(name string) Arg { return stringArg(name) }
	c := &Command{
		Name: "quorum", Arity: -1, Flags: flags, Since: ourVersion, Complexity: "O(1)",
		Summary: "Returns how many replicas must answer the connection's reads and writes; contains the commands to change that.",
		Local:   runQuorum,
		Sub: []*Command{
			{
				Name: "set", Arity: -3, Flags: flags, Since: ourVersion, Complexity: "O(1)",
				Summary: "Sets the connection's levels, mode and timeout; what is not given stays.",
				Args: []Arg{level("read-level").after("R").optional(), level("write-level").after("W").optional(),
					oneOf("mode", tokenArg("sloppy", "SLOPPY"), tokenArg("strict", "STRICT")).optional(),
					integerArg("milliseconds").after("TIMEOUT").optional()},
				Local: runQuorumSet,
			},
			{
				Name: "reset", Arity: 2, Flags: flags, Since: ourVersion, Complexity: "O(1)",
				Summary: "Puts the connection back to the node's configuration.",
				Local:   func(c *Ctx) { c.Session.Levels = coordinator.Levels{}; c.OK() },
			},
			{
				Name: "call", Arity: -5, Flags: flags | MovableKeys, Since: ourVersion,
				Complexity: "Depends on the command.",
				Summary:    "Runs one command that names keys at these levels; - keeps the connection's.",
				// Where most commands have their key, for clients that route by it.
				FirstKey: 5, LastKey: 5, Step: 1, KeyUse: KeyRW | KeyIncomplete | KeyVariable,
				KeyNote: "The keys are those of the command.",
				Args:    []Arg{level("read-level"), level("write-level"), stringArg("command"), stringArg("arg").optional().multiple()},
				Rewrite: rewriteQuorumCall,
			},
			{
				Name: "key", Arity: 3, Flags: ReadOnly, Since: ourVersion, Complexity: "O(1)",
				FirstKey: 2, LastKey: 2, Step: 1, KeyUse: KeyRO,
				Summary: "Returns where a key lives: slot, partition, epoch, replicas, and who stands in for them.",
				Args:    []Arg{keyArg("key")},
				Wait:    runQuorumKey,
			},
			{
				Name: "help", Arity: 2, Flags: flags, Since: ourVersion, Complexity: "O(1)",
				Summary: "Explains the subcommands.",
				Local:   runQuorumHelp,
			},
		},
	}
	inFamily(c, GroupKvstore, CatConnection)
	return c
}

func runQuorumHelp(c *Ctx) {
	c.help("QUORUM",
		"(no subcommand)", "    Return the settings of this connection: n r w mode timeout.",
		"    A timeout of 0 is the configured one of reads and of writes.",
		"SET [R <level>] [W <level>] [SLOPPY|STRICT] [TIMEOUT <ms>]", "    Change them for this connection.",
		"    SLOPPY lets other nodes stand in for replicas that are away, STRICT counts replicas only.",
		"    Levels: one two three quorum all local_one local_quorum each_quorum or a number.",
		"RESET", "    Return to the configuration.",
		"CALL <r> <w> <command> [<arg> ...]", "    Run one command at these levels; - keeps the connection's.",
		"KEY <key>", "    Return slot, partition, epoch and replicas of a key, the fallbacks that stand in for",
		"    replicas that are away, and how many hints of the key each node keeps.")
}

func runQuorum(c *Ctx) {
	n, configured := c.Env.Cluster.Replication()
	l := c.Session.Levels.Or(configured)
	c.Map(5)
	c.BulkString("n")
	c.Int(int64(n))
	c.BulkString("r")
	c.BulkString(l.R.String())
	c.BulkString("w")
	c.BulkString(l.W.String())
	c.BulkString("mode")
	c.BulkString(l.Mode.String())
	c.BulkString("timeout")
	c.Int(l.Timeout.Milliseconds())
}

// maxQuorumTimeout keeps a forgotten request from being kept for longer than an
// operator would wait.
const maxQuorumTimeout = time.Hour

func runQuorumSet(c *Ctx) {
	l := c.Session.Levels
	for args := c.Args[2:]; len(args) > 0; {
		if mode, err := coordinator.ParseMode(string(args[0])); err == nil {
			l.Mode = mode
			args = args[1:]
			continue
		}
		if len(args) < 2 {
			c.Error(resp.ErrTextSyntax)
			return
		}
		ok := true
		switch word, value := args[0], args[1]; {
		case equalFold(word, "r"):
			l.R, ok = c.parseLevel(value)
		case equalFold(word, "w"):
			l.W, ok = c.parseLevel(value)
		case equalFold(word, "timeout"):
			ms, isNumber := resp.ParseInt64(value)
			if ok = isNumber && ms > 0 && ms <= maxQuorumTimeout.Milliseconds(); !ok {
				c.Error("ERR timeout must be from 1 to " + strconv.FormatInt(maxQuorumTimeout.Milliseconds(), 10) + " milliseconds")
			}
			l.Timeout = time.Duration(ms) * time.Millisecond
		default:
			c.Error(resp.ErrTextSyntax)
			ok = false
		}
		if !ok {
			return
		}
		args = args[2:]
	}
	c.Session.Levels = l
	c.OK()
}

// parseLevel reads a level that the configured N can meet. Otherwise it replies
// why it is not one.
func (c *Ctx) parseLevel(word []byte) (coordinator.Level, bool) {
	l, err := coordinator.ParseLevel(string(word))
	if err != nil {
		c.Error(printable([]byte("ERR " + err.Error())))
		return 0, false
	}
	if n, _ := c.Env.Cluster.Replication(); l.Count(n, n) > n {
		c.errorAbout("ERR level '", word, "' cannot be met: a key has N="+strconv.Itoa(n)+" replicas")
		return 0, false
	}
	return l, true
}

// rewriteQuorumCall finds the command and the levels in
// QUORUM CALL r w command [arg ...].
func rewriteQuorumCall(c *Ctx) (args [][]byte, levels coordinator.Levels, ok bool) {
	for i, level := range []*coordinator.Level{&levels.R, &levels.W} {
		if word := c.Args[2+i]; string(word) != "-" {
			if *level, ok = c.parseLevel(word); !ok {
				return nil, levels, false
			}
		}
	}
	args = c.Args[4:]
	inner, out := c.Env.Table.Resolve(c.Out, args)
	c.Out = out
	switch {
	case inner == nil:
		return nil, levels, false
	case inner.Rewrite != nil:
		c.Error("ERR QUORUM CALL cannot run another QUORUM CALL")
		return nil, levels, false
	case inner.FirstKey == 0:
		c.Error("ERR QUORUM CALL runs commands that name keys, which '" + inner.FullName() + "' does not")
		return nil, levels, false
	}
	return args, levels, true
}

func runQuorumKey(ctx context.Context, c *Ctx) {
	info, err := c.Env.Cluster.KeyInfo(ctx, c.Session.DB, c.Args[2])
	if err != nil {
		c.Err = err
		return
	}
	c.Map(4)
	c.BulkString("slot")
	c.Int(int64(info.Slot))
	c.BulkString("partition")
	c.Int(int64(info.Partition))
	c.BulkString("epoch")
	c.Int(int64(info.Epoch))
	c.BulkString("replicas")
	c.Array(len(info.Replicas))
	for _, r := range info.Replicas {
		fields := [...][2]string{{"id", r.ID.String()}, {"name", r.Name}, {"address", r.Addr}, {"dc", r.DC},
			{"rack", r.Rack}, {"role", r.Role}, {"state", r.State}, {"for", r.For}, {"hints", strconv.Itoa(r.Hints)}}
		c.Map(len(fields))
		for _, f := range fields {
			c.BulkString(f[0])
			c.BulkString(f[1])
		}
	}
}
