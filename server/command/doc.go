// Package command is the table of commands: what each one is called, what it
// takes, which keys it names and what it does, declared in one place per
// command and grouped in one file per family.
//
// A Command has a declared half and a running half. From the declared half
// follow arity errors, COMMAND INFO, DOCS, LIST and GETKEYS, ACL categories,
// the slot a client routes by, metrics per command and docs/commands.md. The
// running half is exactly one of four:
//
//   - Op: one operation on one key. The server makes a coordinator.Request of
//     it, with Args[FirstKey] as the key, and the reply is the request's Out.
//     The operation itself is a pure function of its arguments, the key's value
//     and the time, and may run on another node.
//   - Scatter: the same one-key operation for each of several keys (MGET, MSET,
//     DEL), submitted together; Gather makes one reply of theirs. Each key is
//     atomic, the command as a whole is not.
//   - Local: what needs no other node and never waits (PING, COMMAND). It runs
//     on the connection's own goroutine.
//   - Wait: everything else (RENAME, KEYS). It may block, so the server runs it
//     on a bounded pool of workers while the connection's place in the order of
//     replies is kept for it.
//
// The life of a command: the server has its arguments as a slice of byte
// slices, calls Table.Resolve, which answers with the command to run or with
// the error to send (unknown command, unknown subcommand, wrong number of
// arguments), and then takes the branch of the half that is set.
//
// Operations travel between nodes by name, so all nodes need the same ones:
// Table.Ops lists them, with those that Wait commands run step by step.
//
// The table is built once by NewTable and never changes, so any goroutine may
// read it. Ctx and Session belong to the goroutine that runs the command.
// Commands neither keep Args nor anything they alias after they return.
package command
