// Package compat runs real Redis clients against real nodes: a node alone and a
// cluster of three, each node a process. The clients are what people use: redis-cli,
// redis-benchmark, go-redis, ioredis, node-redis and redis-py.
//
// # The scenario
//
// Each of the libraries has a small program (goredis/, node/, python/) with the same
// scenario in its own language, over keys with a prefix of its own:
//
//  1. PING; SET and GET of every byte; APPEND; INCRBY and INCR; SETNX of what
//     exists; MSET, MGET and DEL of keys with one hash tag; GET of what is gone.
//  2. SET PX, PTTL within it, and the key gone after it; EXPIRE, PERSIST, TTL.
//  3. A pipeline of 500 SETs and one of 500 GETs, replies in order.
//  4. SCAN with MATCH and COUNT to the end finds exactly those 500 keys; cluster
//     clients that scan node by node may see them more than once.
//  5. QUORUM CALL writes at ALL and reads at ALL; QUORUM says r is quorum; QUORUM
//     KEY tells the slot; a level above N is refused.
//  6. VCLOCK SET twice with an empty context leaves two siblings; VCLOCK SET with
//     the context of VCLOCK GET leaves one; VCLOCK COMPARE of the two contexts says
//     before; VCLOCK DEL with the last context deletes.
//  7. Errors keep Redis's words: a wrong number of arguments, not an integer, an
//     invalid expire time, a damaged context, an unknown command.
//
// It runs through the client's class for one server on the node alone and on one
// node of the cluster (which answers for the others), and through its cluster class
// on the cluster. go-redis and node-redis speak RESP3, the others RESP2. A program
// prints "passed" or ends with an error that says at which step.
//
// # While the ring changes
//
// The same programs have a second part, for the cluster classes only, run by all of
// them at once: each writes values of keys that nobody else writes, one after the
// other, reads each back at once, and in the end reads all that was acknowledged. A
// key that is gone, or has another value, ends the program. Errors are counted by
// their text. Meanwhile a fourth node joins, during which there may be none; then one
// is killed, after which there may be those that a client cannot hide, until the
// client has found the other nodes. It runs with routing by proxy and by redirection,
// beside redis-cli -c and redis-benchmark --cluster.
//
// What is not installed fails its tests with the name of the package; `make test`
// installs it first.
package compat
