// Command rebalance measures what it costs to add a node to a cluster that serves, and
// to take it away again, beside a Redis Cluster on the same machine.
//
//	go run ./benchmarks/rebalance [-keys 200000] [-rate 2000] [-quiet 8s] [-rounds 1] [-systems NAMES]
//	                              [-returns] [-kvstore FILE,...] [-settings section.key=value,...] [-dir DIR] [-v]
//
// Servers are processes on free loopback ports with data in a temporary directory, which
// is removed, as they are, also on Ctrl-C. The systems do the same work in turns:
//
//	kvstore           three nodes, N=3 R=2 W=2, all settings at their defaults; clients
//	                  speak to these three, each to one, and to the next when that fails
//	kvstore-routed    the same with clients that route by CLUSTER SLOTS
//	redis             three masters, appendonly, with no replicas; clients route by slot
//	                  and follow MOVED and ASK
//
// With -kvstore other programs are measured instead of the one of this working tree, each
// a system of its own: two revisions beside each other.
//
// # The work
//
// First all keys are set: 16 bytes, with values of 64 to 256 bytes. Then 32 clients write
// and read them, half of each, at a fixed rate, and do so until the end. When each
// request is due is decided beforehand, and its latency is counted from then, however
// late it was sent because the one before took long: a pause of a second shows as all the
// requests that it delayed. Nothing is repeated. Each key belongs to one client, which
// knows what it must read: a read of less than was acknowledged is stale.
//
// It is quiet for a time; a fourth node joins; it is quiet; the fourth node leaves; it is
// quiet again. At kvstore the node is started with cluster.join, and leaves by kvstore
// cluster decommission; the change lasts until nothing moves and whoever had a partition
// has dropped it. At Redis it is redis-cli --cluster add-node and rebalance
// --cluster-use-empty-masters, then rebalance to weight 0 and del-node, with all options
// at their defaults; it lasts as long as redis-cli runs.
// At the end every key is read: one that is missing or older than what was acknowledged
// is lost.
//
// With -returns no node joins or leaves. The third node is killed before the keys are set, and
// has missed all of them when it is started again, after a quiet time with two nodes; "is
// back" is from then until no node keeps a hint for it. What is moved then are the hints that
// it took, and the least is a copy of every key.
//
// # The table
//
// "moved" are keys and bytes that went from node to node, and "least" the bytes that had
// to: keys and values, without what belongs to the version of each, of the shares that the
// fourth node is due, in the mean over all partitions. kvstore keeps three copies, and moves
// three quarters as many as there are keys; Redis one, and a quarter. What kvstore has moved
// is what its transfers count (kvstore_transfer_bytes_total), of Redis the keys that changed
// their master. "CPU" is processor time of all servers during the change above that of the
// quiet time before, for each key moved.
//
// Latencies are in milliseconds. "of quiet" divides the p99 by that of the quiet times
// before and after, together. With several rounds the table has the medians, of errors, lost
// and stale the sums.
package main

import (
	"fmt"
	"os"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rebalance:", err)
		code = 1
	}
	os.Exit(code)
}
