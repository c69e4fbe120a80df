// Package hot finds out which keys and partitions are asked for most at present, from a sample of
// the requests that a node coordinates.
//
// # The structure
//
// Summary is Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k
// Elements in Data Streams, 2005) with weights: a fixed number of counters, each with the key that has
// it. A key without one takes over the least, and what that counted becomes the key's error. So with m
// counters and a stream of weight W,
//
//	a key's weight lies between count - error and count,
//	no error is more than W/m, and every key heavier than W/m has a counter.
//
// HeavyKeeper (Gong and others, 2018), which RedisBloom's TOPK has, errs less on the keys at the end of
// the list in as much memory, by chance: nothing bounds the error of one key. Here keys are treated
// differently because they are hot, and nodes add up what they found, and for both a bound is needed:
// what a key is reported to have, count - error, it has had, in the sample, and the sum over the nodes too.
//
// # What is counted
//
// A Tracker has a stream for reads and one for writes. The caller numbers the requests of a stream, which
// it does anyhow, and asks Due of each: one load of a word that seldom changes, and a comparison. Of each
// stride of requests one is taken, at random, so that neither a pipeline nor a batch that repeats itself
// meets always the same; it counts for all of them. The stride follows the rate: SamplesPerSecond are
// taken, or all where there are fewer. A sample costs a lock and some hundred nanoseconds, and allocates
// nothing.
//
//	requests   1 2 3 4 | 5 6 7 8 | 9 10 11 12     stride 4
//	samples        ^           ^   ^              numbers 3, 8, 9: each weighs 4
//
// Everything counted halves in HalfLife. What was hot a minute ago is gone, and a key that becomes hot is
// seen within a second. Rates are what was counted over the time it was counted in, halved alike, so they
// hold from the first second on.
//
// A key is told from others by its token, 62 bits, and the first KeyShown bytes of its name are kept: a
// Tracker takes a fixed number of bytes, see Bytes, however long the keys are.
//
// # Hot keys
//
// Hot says of a token whether its key is hot among the reads: at least EnterRate reads a second and
// EnterShare of this node's reads, until it falls below half of either. It is a look at a small table that
// never changes; a new one replaces it.
//
// All methods may be called concurrently.
package hot
