// Package cache keeps blocks of tables in a fixed amount of memory.
//
// # Shape
//
// A cache is divided into shards, each a ring of bytes under a mutex. The ring is filled end to end with records; a record
// is a header and one block. A gap moves through it like the hand of a clock: to make room for a block the gap is widened
// at its far end by what it meets there,
//
//	a record that was not used since the hand last passed is forgotten,
//	a record that was used is moved down to the near end of the gap, with its mark of use taken away,
//	a record that somebody holds stays: the gap becomes filler and begins again behind it,
//
// until it is wide enough; the block goes to the near end. So blocks of any size share one piece of memory without
// fragments, which lies outside the Go heap when it is large. For each block there is one word of index, in a table the
// garbage collector does not look into.
//
// # A block's life
//
//	h, ok := c.Get(file, offset)           the block, held; h.Data() stays until h.Release()
//	h := c.Alloc(file, offset, length)     memory for a block that is about to be read, held, found by nobody
//	h = c.Publish(h)                       makes it findable; when another reader was first, its block is returned instead
//	h.Release()
//
// Put is Alloc to Release of a block that was just written.
//
// A block for which no room can be made (larger than a shard's share, or everything is held) lives on the Go heap, is
// never found, and is gone when released. An open table holds its top index from Alloc to its end without Publish, so that
// this memory is counted too.
//
// Some blocks are asked for by most reads, the filters of the upper levels above all. Their holder may pin them: then the
// hold lasts as long as he likes, and he looks at them without the cache. A quarter of the cache at most is pinned.
//
// All methods may be called concurrently. A Handle belongs to one goroutine.
package cache
