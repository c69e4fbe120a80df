package command

import "kvstore/cluster/coordinator"

// stringCommands is Redis's string family without LCS.
func stringCommands() []*Command {
	var all []*Command
	all = append(all, readCommands()...)
	all = append(all, setCommands()...)
	all = append(all, editCommands()...)
	all = append(all, counterCommands()...)
	all = append(all, batchCommands()...)
	for _, c := range all {
		c.Group = GroupString
		c.Categories |= CatString
	}
	return all
}

// readCommands read one value and leave it.
func readCommands() []*Command {
	getRange := &coordinator.Op{Name: "getrange", Run: runGetRange}
	return []*Command{
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "get", Arity: 2, Flags: ReadOnly | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Returns the value of a key, or nil.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "get", Run: runGet},
		}),
		oneKey(KeyRO, &Command{
			Name: "strlen", Arity: 2, Flags: ReadOnly | Fast, Since: "2.2.0", Complexity: "O(1)",
			Summary: "Returns how many bytes the value of a key has.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "strlen", Run: runStrlen},
		}),
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "getrange", Arity: 4, Flags: ReadOnly, Since: "2.4.0",
			Complexity: "O(N) where N is the number of bytes returned",
			Summary:    "Returns the bytes of a value from one offset to another; negative offsets count from the end.",
			Args:       []Arg{keyArg("key"), integerArg("start"), integerArg("end")},
			Op:         getRange,
		}),
		oneKey(KeyRO|KeyAccess, &Command{
			Name: "substr", Arity: 4, Flags: ReadOnly, Since: "1.0.0",
			Complexity: "O(N) where N is the number of bytes returned",
			Deprecated: "2.0.0", ReplacedBy: "`GETRANGE`",
			Summary: "Returns the bytes of a value from one offset to another.",
			Args:    []Arg{keyArg("key"), integerArg("start"), integerArg("end")},
			Op:      getRange,
		}),
		oneKey(KeyRW|KeyAccess|KeyDelete, &Command{
			Name: "getdel", Arity: 2, Flags: Write | Fast, Since: "6.2.0", Complexity: "O(1)",
			Summary: "Returns the value of a key and deletes the key.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "getdel", Write: true, Run: runGetDel},
		}),
		oneKey(KeyRW|KeyAccess|KeyUpdate, &Command{
			Name: "getex", Arity: -2, Flags: Write | Fast, Since: "6.2.0", Complexity: "O(1)",
			KeyNote: "RW and UPDATE because it changes the TTL",
			Summary: "Returns the value of a key and, when asked to, sets or removes its deadline.",
			Args: []Arg{keyArg("key"), oneOf("expiration",
				integerArg("seconds").after("EX"),
				integerArg("milliseconds").after("PX"),
				timeArg("unix-time-seconds").after("EXAT"),
				timeArg("unix-time-milliseconds").after("PXAT"),
				tokenArg("persist", "PERSIST"),
			).optional()},
			Op: &coordinator.Op{Name: "getex", Write: true, Run: runGetEx},
		}),
	}
}

// setCommands replace a value whole.
func setCommands() []*Command {
	return []*Command{
		oneKey(KeyRW|KeyAccess|KeyUpdate|KeyVariable, &Command{
			Name: "set", Arity: -3, Flags: Write | DenyOOM, Since: "1.0.0", Complexity: "O(1)",
			KeyNote: "RW and ACCESS due to the optional `GET` argument",
			Summary: "Sets a key to a value, whatever it held, with an optional condition and deadline.",
			History: []Change{
				{"2.6.12", "Added `EX`, `PX`, `NX` and `XX`."},
				{"6.0.0", "Added `KEEPTTL`."},
				{"6.2.0", "Added `GET`, `EXAT` and `PXAT`."},
				{"7.0.0", "`NX` and `GET` may be given together."},
			},
			Args: []Arg{keyArg("key"), stringArg("value"),
				oneOf("condition", tokenArg("nx", "NX"), tokenArg("xx", "XX")).since("2.6.12").optional(),
				tokenArg("get", "GET").since("6.2.0").optional(),
				oneOf("expiration",
					integerArg("seconds").after("EX").since("2.6.12"),
					integerArg("milliseconds").after("PX").since("2.6.12"),
					timeArg("unix-time-seconds").after("EXAT").since("6.2.0"),
					timeArg("unix-time-milliseconds").after("PXAT").since("6.2.0"),
					tokenArg("keepttl", "KEEPTTL").since("6.0.0"),
				).optional()},
			Op: &coordinator.Op{Name: "set", Write: true, Run: runSet, Depends: setDepends},
		}),
		oneKey(KeyOW|KeyInsert, &Command{
			Name: "setnx", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Deprecated: "2.6.12", ReplacedBy: "`SET` with the `NX` argument",
			Summary: "Sets a key that does not exist; replies whether it did.",
			Args:    []Arg{keyArg("key"), stringArg("value")},
			Op:      &coordinator.Op{Name: "setnx", Write: true, Run: runSetNX},
		}),
		oneKey(KeyOW|KeyUpdate, &Command{
			Name: "setex", Arity: 4, Flags: Write | DenyOOM, Since: "2.0.0", Complexity: "O(1)",
			Deprecated: "2.6.12", ReplacedBy: "`SET` with the `EX` argument",
			Summary: "Sets a key to a value that lives for some seconds.",
			Args:    []Arg{keyArg("key"), integerArg("seconds"), stringArg("value")},
			Op:      &coordinator.Op{Name: "setex", Write: true, Run: runSetEx, Depends: coordinator.Never},
		}),
		oneKey(KeyOW|KeyUpdate, &Command{
			Name: "psetex", Arity: 4, Flags: Write | DenyOOM, Since: "2.6.0", Complexity: "O(1)",
			Deprecated: "2.6.12", ReplacedBy: "`SET` with the `PX` argument",
			Summary: "Sets a key to a value that lives for some milliseconds.",
			Args:    []Arg{keyArg("key"), integerArg("milliseconds"), stringArg("value")},
			Op:      &coordinator.Op{Name: "psetex", Write: true, Run: runPSetEx, Depends: coordinator.Never},
		}),
		oneKey(KeyRW|KeyAccess|KeyUpdate, &Command{
			Name: "getset", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Deprecated: "6.2.0", ReplacedBy: "`SET` with the `!GET` argument",
			Summary: "Sets a key to a value and returns the value it replaced.",
			Args:    []Arg{keyArg("key"), stringArg("value")},
			Op:      &coordinator.Op{Name: "getset", Write: true, Run: runGetSet},
		}),
	}
}

// editCommands change a part of a value.
func editCommands() []*Command {
	return []*Command{
		oneKey(KeyRW|KeyInsert, &Command{
			Name: "append", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "2.0.0",
			Complexity: "O(N) where N is the length of the resulting value",
			Summary:    "Appends bytes to a value, creating the key when there is none.",
			Args:       []Arg{keyArg("key"), stringArg("value")},
			Op:         &coordinator.Op{Name: "append", Write: true, Run: runAppend},
		}),
		oneKey(KeyRW|KeyUpdate, &Command{
			Name: "setrange", Arity: 4, Flags: Write | DenyOOM, Since: "2.2.0",
			Complexity: "O(N) where N is the length of the resulting value",
			Summary:    "Overwrites a part of a value from an offset on, filling a gap with zero bytes.",
			Args:       []Arg{keyArg("key"), integerArg("offset"), stringArg("value")},
			Op:         &coordinator.Op{Name: "setrange", Write: true, Run: runSetRange},
		}),
	}
}

// counterCommands take a value for a number.
func counterCommands() []*Command {
	const use = KeyRW | KeyAccess | KeyUpdate
	return []*Command{
		oneKey(use, &Command{
			Name: "incr", Arity: 2, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Adds one to the integer a key holds; a key that does not exist counts as 0.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "incr", Write: true, Run: runIncr},
		}),
		oneKey(use, &Command{
			Name: "decr", Arity: 2, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Subtracts one from the integer a key holds; a key that does not exist counts as 0.",
			Args:    []Arg{keyArg("key")},
			Op:      &coordinator.Op{Name: "decr", Write: true, Run: runDecr},
		}),
		oneKey(use, &Command{
			Name: "incrby", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Adds an integer to the integer a key holds; a key that does not exist counts as 0.",
			Args:    []Arg{keyArg("key"), integerArg("increment")},
			Op:      &coordinator.Op{Name: "incrby", Write: true, Run: runIncrBy},
		}),
		oneKey(use, &Command{
			Name: "decrby", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "1.0.0", Complexity: "O(1)",
			Summary: "Subtracts an integer from the integer a key holds; a key that does not exist counts as 0.",
			Args:    []Arg{keyArg("key"), integerArg("decrement")},
			Op:      &coordinator.Op{Name: "decrby", Write: true, Run: runDecrBy},
		}),
		oneKey(use, &Command{
			Name: "incrbyfloat", Arity: 3, Flags: Write | DenyOOM | Fast, Since: "2.6.0", Complexity: "O(1)",
			Summary: "Adds to the number a key holds, which becomes a plain value, not a counter.",
			Args:    []Arg{keyArg("key"), doubleArg("increment")},
			Op:      &coordinator.Op{Name: "incrbyfloat", Write: true, Run: runIncrByFloat},
		}),
	}
}

// batchCommands work on several keys, of which each is atomic by itself.
func batchCommands() []*Command {
	pairs := block("data", keyArg("key"), stringArg("value")).multiple()
	nx := newMSetNX()
	return []*Command{
		manyKeys(KeyRO|KeyAccess, 1, &Command{
			Name: "mget", Arity: -2, Flags: ReadOnly | Fast, Since: "1.0.0",
			Complexity: "O(N) where N is the number of keys",
			Tips:       []string{"request_policy:multi_shard"},
			Summary:    "Returns the values of several keys, nil for those that do not exist.",
			Args:       []Arg{keyArg("key").multiple()},
			Scatter:    &Scatter{Op: &coordinator.Op{Name: "mget", Run: runGet}, Gather: gatherArray},
		}),
		manyKeys(KeyOW|KeyUpdate, 2, &Command{
			Name: "mset", Arity: -3, Flags: Write | DenyOOM, Since: "1.0.1",
			Complexity: "O(N) where N is the number of keys",
			Tips:       []string{"request_policy:multi_shard", "response_policy:all_succeeded"},
			Summary:    "Sets several keys. Each is set atomically; others may see some set before others.",
			Args:       []Arg{pairs},
			Scatter:    &Scatter{Op: &coordinator.Op{Name: "mset", Write: true, Run: runMSetPart, Depends: coordinator.Never}, Gather: gatherOK},
		}),
		manyKeys(KeyOW|KeyInsert, 2, &Command{
			Name: "msetnx", Arity: -3, Flags: Write | DenyOOM, Since: "1.0.1",
			Complexity: "O(N) where N is the number of keys",
			Summary:    "Sets several keys if none of them exists. The check and the writes are not one atomic step.",
			Args:       []Arg{pairs},
			Wait:       nx.run, Runs: nx.ops(),
		}),
	}
}
