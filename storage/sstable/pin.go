package sstable

import (
	"sync/atomic"

	"kvstore/storage/cache"
)

// part is one partition as the reader knows it.
type part struct {
	at handle
	// pinned is the partition once it is pinned, until Close.
	pinned atomic.Pointer[pinned]
}

// pinned is a partition that stays in the cache's memory and is parsed already, so that a read which its filter turns
// away takes no lock and writes no memory that is shared with others.
type pinned struct {
	partition
	held cache.Handle
}

// lookInCached looks for key in a partition that is not pinned, and pins it if it may.
func (r *Reader) lookInCached(part *part, key []byte, cachedOnly bool) (h handle, more bool, err error) {
	held, err := r.block(part.at, cachedOnly)
	if err != nil {
		return h, false, err
	}
	p, ok := parsePartition(held.Data())
	if !ok {
		held.Release()
		return h, false, r.damage(part.at.offset, "a partition cannot be read")
	}
	if p.mayHave(keyHash(key)) {
		h, more, err = r.lookInIndex(&p.index, part.at, key)
	}
	if !r.pin(part, &p, held) {
		held.Release()
	}
	return h, more, err
}

// pin keeps a held partition if the cache has room for it. When it is false the hold is still the caller's.
func (r *Reader) pin(part *part, p *partition, held cache.Handle) bool {
	c := r.options.Cache
	if c == nil || part.pinned.Load() != nil || !c.Pin(&held, r.options.Hot) {
		return false
	}
	if !part.pinned.CompareAndSwap(nil, &pinned{*p, held}) {
		c.Unpin(&held) // another reader was first
	}
	return true
}

// Warm reads and pins the partitions, as long as there is room, so that the first reads of a new table need not wait for
// the disk to learn that a key is not in it.
func (r *Reader) Warm() error {
	for i := range r.parts {
		part := &r.parts[i]
		held, err := r.block(part.at, false)
		if err != nil {
			return err
		}
		p, ok := parsePartition(held.Data())
		if !ok {
			held.Release()
			return r.damage(part.at.offset, "a partition cannot be read")
		}
		if !r.pin(part, &p, held) {
			held.Release()
			break
		}
	}
	return nil
}

// unpin lets go of all partitions.
func (r *Reader) unpin() {
	for i := range r.parts {
		if p := r.parts[i].pinned.Swap(nil); p != nil {
			r.options.Cache.Unpin(&p.held)
		}
	}
}
