// Command kvstore is a leaderless, disk-backed, distributed key-value store
// that speaks the Redis protocol.
package main

import (
	"os"

	"kvstore/server/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
