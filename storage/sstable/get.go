package sstable

import (
	"bytes"
	"errors"

	"kvstore/storage/entry"
)

// errNotReady is how a reader that must not wait for the disk says that a block is not in memory. It never leaves the package.
var errNotReady = errors.New("a block is not in memory")

// Get finds the newest record of key whose sequence number is at most seq, and appends its value to dst.
func (r *Reader) Get(dst, key []byte, seq uint64) (value []byte, kind entry.Kind, entrySeq uint64, found bool, err error) {
	return r.get(dst, key, seq, false)
}

// TryGet is Get without waiting: it is not ready when a block that it needs is neither in the cache nor, as far as the system
// tells, in its own memory.
func (r *Reader) TryGet(dst, key []byte, seq uint64) (value []byte, kind entry.Kind, entrySeq uint64, found, ready bool, err error) {
	value, kind, entrySeq, found, err = r.get(dst, key, seq, true)
	if err == errNotReady {
		return dst, 0, 0, false, false, nil
	}
	return value, kind, entrySeq, found, true, err
}

func (r *Reader) get(dst, key []byte, seq uint64, cachedOnly bool) ([]byte, entry.Kind, uint64, bool, error) {
	at, sure := r.bounds.find(prefixOf(key))
	if at < 0 {
		return dst, 0, 0, false, nil
	}
	if !sure {
		var ok bool
		if at, ok = r.top.search(key, entry.MaxSeq); !ok {
			return dst, 0, 0, false, r.damage(r.footer.top.offset, "a row of the top index cannot be read")
		}
		if at == r.top.n {
			return dst, 0, 0, false, nil
		}
	}
	part := &r.parts[at]
	var data handle
	var more bool
	var err error
	if p := part.pinned.Load(); p == nil {
		data, more, err = r.lookInCached(part, key, cachedOnly)
	} else if p.mayHave(keyHash(key)) {
		data, more, err = r.lookInIndex(&p.index, part.at, key)
	}
	if err != nil || data.length == 0 {
		return dst, 0, 0, false, err
	}
	held, err := r.block(data, cachedOnly)
	if err != nil {
		return dst, 0, 0, false, err
	}
	v, where, err := r.lookInData(held.Data(), data, key, seq)
	if where == inBlock {
		dst = append(dst, v.value...)
	}
	held.Release()
	if where == afterBlock && more {
		return r.getFurther(dst, key, seq, cachedOnly)
	}
	return dst, v.kind, v.seq, where == inBlock, err
}

// lookInIndex returns the data block that has the key if the table has it. With more the key is the block's separator, so
// its versions may go on in the next block.
func (r *Reader) lookInIndex(index *block, at handle, key []byte) (h handle, more bool, err error) {
	i, ok := index.search(key, entry.MaxSeq)
	if !ok || i == index.n { // the partition's last separator is its row in the top index
		return h, false, r.damage(at.offset, "the index does not agree with the one above")
	}
	v, ok := index.row(i)
	if !ok {
		return h, false, r.damage(at.offset, "a row of the index cannot be read")
	}
	more = index.isKey(&v, key)
	if h, ok = parseHandle(v.value, r.size-footerSize); !ok {
		return h, false, r.damage(at.offset, "a row of the index points outside the file")
	}
	return h, more, nil
}

// Where lookInData finds a key.
const (
	absent     = iota // in no block
	inBlock           // in this one
	afterBlock        // if anywhere, in the next block
)

// lookInData finds the newest record of key, not newer than seq, in the contents of the data block at h.
func (r *Reader) lookInData(contents []byte, h handle, key []byte, seq uint64) (v rowView, where int, err error) {
	b, ok := parseBlock(contents)
	if !ok {
		return v, absent, r.damage(h.offset, "a block cannot be read")
	}
	i, ok := b.search(key, seq)
	if !ok {
		return v, absent, r.damage(h.offset, "a row cannot be read")
	}
	if i == b.n {
		return v, afterBlock, nil
	}
	if v, ok = b.row(i); !ok {
		return v, absent, r.damage(h.offset, "a row cannot be read")
	}
	if !b.isKey(&v, key) {
		return rowView{}, absent, nil
	}
	return v, inBlock, nil
}

// getFurther is get for a key whose versions fill more than one block.
func (r *Reader) getFurther(dst, key []byte, seq uint64, cachedOnly bool) ([]byte, entry.Kind, uint64, bool, error) {
	i := r.newIter()
	i.cachedOnly = cachedOnly
	defer i.Close()
	for ok := i.SeekGE(key); ok && bytes.Equal(i.Key(), key); ok = i.Next() {
		if i.Seq() <= seq {
			return append(dst, i.Value()...), i.Kind(), i.Seq(), true, nil
		}
	}
	return dst, 0, 0, false, i.err
}
