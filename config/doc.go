// Package config is the one place that knows what can be configured.
//
// Every setting is one [Field] of the table in fields.go: its key
// ("section.key"), type, default, what is allowed, whether it may be changed
// while the node runs, and its documentation. All else follows from the table:
// the keys of the file, the flags, the environment variables, CONFIG GET and
// CONFIG SET, kvstore.toml.example and docs/configuration.md.
//
// # The life of a setting
//
// A setting is text with an origin, a [Setting]. [ReadFile] takes settings from
// TOML, [FromEnv] from variables named KVSTORE_SECTION_KEY, [FromArgs] from
// flags named --section.key. [Load] applies them over the defaults in that
// order, so file < environment < flag, checks each against its field, then
// checks the settings against each other, and returns a [Config] or the list of
// all mistakes as [Errors]. Each mistake is one line with the key, the value,
// where it came from and what is allowed:
//
//	server.maxclients = "many" (kvstore.toml:4): not a whole number; allowed: 1 to 1000000
//
// A running node keeps its Config in a [Live], which CONFIG GET reads and CONFIG
// SET changes; whoever needs to follow a setting subscribes to it.
//
// # Units
//
// A size ([ByteSize]) is a whole number with B, KiB, MiB, GiB or TiB (powers of
// 1024) or KB, MB, GB, TB (powers of 1000); without a unit it counts bytes. A
// duration is Go's: 500ms, 1s, 1h30m; zero may be written 0. A list is a TOML
// array in the file and separated by commas everywhere else.
//
// # Secrets
//
// The value of a secret field never appears in an error, a log line or the
// output of `kvstore config check`. CONFIG GET shows a secret only when CONFIG
// SET may change it: whoever may set it may read it.
//
// A Config is a plain value, safe to read from any goroutine as long as nobody
// writes it. Live may be used by any number of goroutines.
package config
