// Command failover measures what clients notice when a node is lost, beside Redis
// Cluster on the same machine.
//
//	go run ./benchmarks/failover [-faults kill,pause,blackhole,restart] [-systems NAMES] [-dir DIR] [-v]
//
// Each server is a process on a host of its own (package lab); clients are on
// another. Three systems do the same work:
//
//	kvstore           three nodes, N=3 R=2 W=2, all settings at their defaults
//	redis             three masters and three replicas, appendonly, the default
//	                  cluster-node-timeout of 15 s
//	redis-1s          the same with cluster-node-timeout 1 s
//
// # The work
//
// Five clients write and read in turn, one request a millisecond each, as long as
// requests do not take longer. Each write is of a new key, each read of one that was
// written and acknowledged a moment before. Keys have one of six hash tags, whose
// slots lie evenly among all: a sixth of the keys may be out of service while the
// rest is not. A connection not made in 200 ms and a request without a reply in 500 ms
// are given up. Nothing is repeated: what fails is counted as an error, and the next
// request is another.
//
// A client of kvstore is connected to one node, and to the next one when that fails.
// A client of Redis Cluster routes by slot, follows redirections, and asks for the
// slots again after a failure, at the other nodes first.
//
// # The faults
//
// A node, or the first master, is lost in mid-work: by kill -9; by SIGSTOP; by a
// switch that drops all from and to its host. After a time that lets the system find
// its way, the fault is undone. Then there is the orderly restart: SIGTERM and a
// start; before it, at Redis, CLUSTER FAILOVER to the replica, as its manual advises.
//
// # The table
//
// The gap is the longest time in which a client had no write, or read, succeed on
// one of the six parts of its keys. In quiet it is about 12 ms; "gap before" is the
// longest before the fault: where it is much more, the machine is busy with other
// things, and so are the other figures. Requests over 100 ms count whether they
// succeeded or not. Writes are lost when they were acknowledged,
// and are not there after everything is healed.
package main

import (
	"fmt"
	"os"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		code = 1
	}
	os.Exit(code)
}
