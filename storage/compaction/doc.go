// Package compaction decides what is merged with what, and merges it.
//
// # Levels
//
// Flushed memtables are level 0: tables that overlap, the newest first. The tables of any other level do not overlap each
// other. A key's newer records are always in a lower level than its older ones. The last level is nearly all of the data, and
// each level above may hold a tenth of the one below it, down to BaseBytes; the level where that comes out is the base
// level, into which level 0 is merged. Levels between stay empty. So the data that is stored twice is bounded by about a
// ninth, whatever the size of the whole, and a small data set is merged straight into the last level.
//
// # A compaction
//
// Pick looks at the sizes and draws a Plan: inputs of one level, the tables of the output level that they overlap, and the
// keys where outputs must be cut. It is a pure function; whoever runs plans marks the inputs Busy until the outcome is in
// the manifest, and may ask for further plans meanwhile. The records of the inputs run through Merge; a Filter says which
// of them anyone can still see; a Cutter says where the next output begins; a Pace says when to rest for the sake of writers.
package compaction
