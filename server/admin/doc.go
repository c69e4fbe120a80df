// Package admin is the HTTP side of a node: what operators, monitoring and the
// management commands ask, on admin.listen, apart from the clients' port.
//
//	GET  /healthz        200 while the process runs
//	GET  /readyz         200 when the node is in a ring and serves, else 503 and why
//	GET  /metrics        Prometheus text: the node's statistics, Go's and the process's
//	GET  /v1/nodes       NodeList: every node this one knows, as this one sees it
//	POST /v1/nodes       merges another node's NodeList into this node's, answers the result
//	GET  /v1/ring        Ring: members and partitions
//	GET  /v1/hot         Hot: what clients ask for most, over all members; ?top=20 says how many
//	GET  /v1/repair      Repair: the comparison of replicas under way, or the last one
//	POST /v1/repair      {} or {"partition": 5}: begins one, answers Repair; 409 when one runs
//	GET  /v1/backup      Backup: the one under way, or the last one
//	POST /v1/backup      {"dir": "/whole/path"}: begins one, answers Backup; 409 says why not
//	GET  /v1/cluster     Cluster: the members, and how far what moves between them is
//	POST /v1/cluster/plan     Change: answers the Plan of it, and changes nothing
//	POST /v1/cluster/commit   Change: makes it, answers Changed; 409 says why not
//	POST /v1/cluster/abort | pause | resume   answers Changed
//	POST /v1/cluster/recover  {"force": true}: answers Changed
//	GET  /debug/pprof/   profiles
//
// Nothing here has a password, and a backup is written wherever the node may write to a
// new directory; the address is meant to be private. A browser on
// the same machine is kept from posting by the check of its Origin.
//
// # Shapes
//
// GET /v1/nodes:
//
//	{"cluster": "kvstore", "cluster_id": "9f86d081884c7d65", "self": "17c5...", "process": 4242,
//	 "version": "0.1.0", "ready": true, "epoch": 3, "partitions": 256,
//	 "nodes": [{"id": "17c5...", "name": "n1", "address": "127.0.0.1:7001",
//	            "gossip": "127.0.0.1:17001", "rpc": "127.0.0.1:27001",
//	            "dc": "dc1", "rack": "rack1", "weight": 1, "state": "alive",
//	            "member": true, "connected": true, "heartbeat": "2026-01-02T15:04:05Z",
//	            "epoch": 3, "replicas": 256, "primaries": 85}]}
//
// A node that is not ready has "ready": false and "reason"; one whose clock is
// likely to be wrong says why in "clock"; one that is being filled by others has
// "filling", how many of its partitions are not yet, and "refill", how far that is.
// "unsettled" counts partitions that others may have written without it;
// "state" is alive, suspect or dead;
// "member" tells whether the ring gives it partitions; "heartbeat" is when
// something was last heard from it, absent if never; "replicas" counts the
// partitions it holds and "primaries" those it comes first for. POST needs of
// each node only "gossip".
//
// GET /v1/ring:
//
//	{"cluster_id": "9f86d081884c7d65", "epoch": 3, "slots": 16384,
//	 "members": [{"id": "17c5...", "name": "n1", ...}],
//	 "partitions": [{"partition": 0, "first_slot": 0, "last_slot": 63, "replicas": ["17c5...", ...]}]}
//
// "replicas" is the preference list: ids, the soft primary first. While partitions
// move, "transfers" lists {"partition", "from", "to", "step"}, and "moves" says how far
// the node that was asked is with those it drives. An error is
// {"error": "one line"} with a status of 400 or above.
//
// GET /v1/hot:
//
//	{"half_life_seconds": 5, "members": 3, "silent": 0, "reads_a_second": 81200.5, "writes_a_second": 412,
//	 "keys": [{"key": "user:7", "bytes": 6, "database": 0, "reads_a_second": 30100, "writes_a_second": 0,
//	           "share": 0.37, "slot": 2780, "partition": 43, "replicas": ["n2", "n1", "n3"]}],
//	 "partitions": [{"partition": 43, "reads_a_second": 30400, "writes_a_second": 2, "share": 0.375,
//	                 "replicas": ["n2", "n1", "n3"]}]}
//
// A Server may be used by any number of goroutines; its goroutines end in
// Shutdown or Close.
package admin
