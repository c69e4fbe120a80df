package command

import "kvstore/cluster/coordinator"

// keyCommands is the part of Redis's generic family that does not depend on
// what a key holds.
func keyCommands() []*Command {
	var all []*Command
	all = append(all, presenceCommands()...)
	all = append(all, deadlineCommands()...)
	all = append(all, expireCommands()...)
	all = append(all, moveCommands()...)
	all = append(all, iterationCommands()...)
	for _, c := range all {
		c.Group = GroupGeneric
		c.Categories |= CatKeyspace
	}
	return all
}

// presenceCommands ask for keys and delete them.
func presenceCommands() []*Command {
	del := &Scatter{Op: &coordinator.Op{Name: "del", Write: true, Run: runDel}, Gather: gatherSum}
	exists := &Scatter{Op: &coordinator.Op{Name: "exists", Run: runExists}, Gather: gatherSum}
	tips := []string{"request_policy:multi_shard", "response_policy:agg_sum"}
	return []*Command{
		manyKeys(KeyRM|KeyDelete, 1, &Command{
			Name: "del", Arity: -2, Flags: Write, Since: "1.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of keys",
			Summary:    "Deletes keys and returns how many of them existed.",
			Args:       []Arg{keyArg("key").multiple()},
			Scatter:    del,
		}),
		manyKeys(KeyRM|KeyDelete, 1, &Command{
			Name: "unlink", Arity: -2, Flags: Write | Fast, Since: "4.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of keys",
			Summary:    "Deletes keys as DEL does, which never waits for memory to be freed.",
			Args:       []Arg{keyArg("key").multiple()},
			Scatter:    del,
		}),
		manyKeys(KeyRO, 1, &Command{
			Name: "exists", Arity: -2, Flags: ReadOnly | Fast, Since: "1.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of keys",
			History:    []Change{{"3.0.3", "Takes several keys."}},
			Summary:    "Returns how many of the keys exist; a key named twice counts twice.",
			Args:       []Arg{keyArg("key").multiple()},
			Scatter:    exists,
		}),
		manyKeys(KeyRO, 1, &Command{
			Name: "touch", Arity: -2, Flags: ReadOnly | Fast, Since: "3.2.1", Tips: tips,
			Complexity: "O(N) where N is the number of keys",
			Summary:    "Returns how many of the keys exist. There is no time of last access to set.",
			Args:       []Arg{keyArg("key").multiple()},
			Scatter:    exists,
		}),
		oneKey(KeyRO, &Command{
			Name: "type", Arity: 2, Flags: ReadOnly | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Returns what kind of value a key holds: string, or none.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "type", Run: runType},
		}),
	}
}

// deadlineCommands tell when keys expire.
func deadlineCommands() []*Command {
	tips := []string{"nondeterministic_output"}
	history := []Change{{"2.8.0", "Replies -2 when there is no such key."}}
	return []*Command{
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "ttl", Arity: 2, Flags: ReadOnly | Fast, Since: "1.0.0", Complexity: "O(1)", Tips: tips, History: history,
			Summary: "Returns the seconds a key has left, -1 without a deadline, -2 without a key.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "ttl", Run: runTTL},
		}),
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "pttl", Arity: 2, Flags: ReadOnly | Fast, Since: "2.6.0", Complexity: "O(1)", Tips: tips, History: history,
			Summary: "Returns the milliseconds a key has left, -1 without a deadline, -2 without a key.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "pttl", Run: runPTTL},
		}),
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "expiretime", Arity: 2, Flags: ReadOnly | Fast, Since: "7.0.0", Complexity: "O(1)",
			Summary: "Returns the Unix second at which a key expires, -1 without a deadline, -2 without a key.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "expiretime", Run: runExpireTime},
		}),
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "pexpiretime", Arity: 2, Flags: ReadOnly | Fast, Since: "7.0.0", Complexity: "O(1)",
			Summary: "Returns the Unix millisecond at which a key expires, -1 without a deadline, -2 without a key.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "pexpiretime", Run: runPExpireTime},
		}),
		oneKey(KeyRW|KeyUpdate, &Command{
			Name: "persist", Arity: 2, Flags: Write | Fast, Since: "2.2.0", Complexity: "O(1)",
			Summary: "Takes the deadline from a key; replies whether it had one.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "persist", Write: true, Run: runPersist},
		}),
	}
}

// expireCommands give a key a deadline; they differ in how the time is written.
func expireCommands() []*Command {
	command := func(name, since, summary string, time Arg, run func(*coordinator.Call)) *Command {
		return oneKey(KeyRW|KeyUpdate, &Command{
			Name: name, Arity: -3, Flags: Write | Fast, Since: since, Complexity: "O(1)",
			History: []Change{{"7.0.0", "Added `NX`, `XX`, `GT` and `LT`."}},
			Summary: summary,
			Args: []Arg{keyArg("key"), time, oneOf("condition",
				tokenArg("nx", "NX"), tokenArg("xx", "XX"), tokenArg("gt", "GT"), tokenArg("lt", "LT"),
			).since("7.0.0").optional()},
			Op: &coordinator.Op{Name: name, Write: true, Run: run},
		})
	}
	return []*Command{
		command("expire", "1.0.0", "Lets a key expire after some seconds.", integerArg("seconds"), runExpire),
		command("pexpire", "2.6.0", "Lets a key expire after some milliseconds.", integerArg("milliseconds"), runPExpire),
		command("expireat", "1.2.0", "Lets a key expire at a Unix second.", timeArg("unix-time-seconds"), runExpireAt),
		command("pexpireat", "2.6.0", "Lets a key expire at a Unix millisecond.", timeArg("unix-time-milliseconds"), runPExpireAt),
	}
}

// moveCommands read one key and write another, which two nodes may hold.
func moveCommands() []*Command {
	m := newMover()
	return []*Command{
		{
			Name: "rename", Arity: 3, Flags: Write, Since: "1.0.0", Complexity: "O(N) where N is the length of the value",
			Summary:  "Renames a key, replacing the one of the new name. For a moment both may exist.",
			FirstKey: 1, LastKey: 2, Step: 1,
			KeySpecs: []KeySpec{{First: 1, Step: 1, Use: KeyRW | KeyAccess | KeyDelete}, {First: 2, Step: 1, Use: KeyOW | KeyUpdate}},
			Args:     []Arg{keyArg("key"), keyArgAt("newkey", 1)},
			Wait:     m.rename, Runs: m.ops(),
		},
		{
			Name: "renamenx", Arity: 3, Flags: Write | Fast, Since: "1.0.0", Complexity: "O(N) where N is the length of the value",
			History:  []Change{{"3.2.0", "The same name twice is no error."}},
			Summary:  "Renames a key unless the new name exists. For a moment both may exist.",
			FirstKey: 1, LastKey: 2, Step: 1,
			KeySpecs: []KeySpec{{First: 1, Step: 1, Use: KeyRW | KeyAccess | KeyDelete}, {First: 2, Step: 1, Use: KeyOW | KeyInsert}},
			Args:     []Arg{keyArg("key"), keyArgAt("newkey", 1)},
			Wait:     m.renameNX, Runs: m.ops(),
		},
		{
			Name: "copy", Arity: -3, Flags: Write | DenyOOM, Since: "6.2.0", Complexity: "O(N) where N is the length of the value",
			Summary:  "Copies the value and deadline of a key to another key, in this or another database.",
			FirstKey: 1, LastKey: 2, Step: 1,
			KeySpecs: []KeySpec{{First: 1, Step: 1, Use: KeyRO | KeyAccess}, {First: 2, Step: 1, Use: KeyOW | KeyUpdate}},
			Args: []Arg{keyArg("source"), keyArgAt("destination", 1),
				integerArg("destination-db").after("DB").optional(), tokenArg("replace", "REPLACE").optional()},
			Wait: m.copy, Runs: m.ops(),
		},
	}
}

// iterationCommands go through the keys of a database.
func iterationCommands() []*Command {
	return []*Command{
		{
			Name: "keys", Arity: 2, Flags: ReadOnly, Categories: CatDangerous, Since: "1.0.0",
			Complexity: "O(N) where N is the number of keys of the database, on all nodes",
			Tips:       []string{"request_policy:all_shards", "nondeterministic_output_order"},
			Summary:    "Returns every key of the cluster that matches a pattern.",
			Args:       []Arg{patternArg("pattern")},
			Wait:       runKeys,
		},
		{
			Name: "randomkey", Arity: 1, Flags: ReadOnly, Since: "1.0.0", Complexity: "O(log(N))",
			Tips:    []string{"request_policy:all_shards", "response_policy:special", "nondeterministic_output"},
			Summary: "Returns any key of the database.",
			Wait:    runRandomKey,
		},
		{
			Name: "scan", Arity: -2, Flags: ReadOnly, Since: "2.8.0",
			Complexity: "O(COUNT) for a call, O(N) to go through all N keys",
			Tips:       []string{"nondeterministic_output", "request_policy:special", "response_policy:special"},
			History:    []Change{{"6.0.0", "Added `TYPE`."}},
			Summary:    "Returns some keys of the cluster and the cursor to go on with, on whichever node.",
			Args: []Arg{integerArg("cursor"), patternArg("pattern").after("MATCH").optional(),
				integerArg("count").after("COUNT").optional(), stringArg("type").after("TYPE").since("6.0.0").optional()},
			Wait: runScan,
		},
	}
}
