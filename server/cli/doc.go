// Package cli is the command line: kvstore COMMAND [flags].
//
// [Main] finds the command in the table of commands, one file each, and runs it.
// A command gets a [shell], through which alone it sees the outside: arguments,
// environment, standard streams. It returns an error, which Main prints as one
// line on the standard error stream, beginning with "kvstore: ".
//
// Exit codes: 0 for success, 1 when something went wrong, 2 when the command
// line itself is wrong (no such command, no such flag).
//
// Flags with a dot, --section.key, are settings of package config and are taken
// by every command that needs a configuration; the others belong to the command.
// The file is --config, else KVSTORE_CONFIG, else kvstore.toml in the working
// directory if there is one.
//
// # server
//
// The one place where everything is put together: configuration, logs, cluster,
// front end, admin. What can go wrong with a port, a directory or a disk comes
// back as typed errors of the packages below; explain turns each into a line
// that names the key, its value and the mend.
//
// # demo
//
// A real cluster on one machine. Each node is a child process of the same
// executable with a configuration file of its own, so that it can be killed,
// inspected and started again by hand. The parent holds nothing but the
// children: it starts them, waits until the ring has them all, reports those
// that die and stops those that live. On Linux the kernel kills the children
// when the parent dies.
//
// # storage
//
// Works on a directory itself, through package storage/offline, which a node
// that runs on it keeps it from by the directory's lock.
//
// # Everything else
//
// status and ring ask a running node over HTTP; see package admin.
package cli
