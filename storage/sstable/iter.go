package sstable

import (
	"kvstore/storage/cache"
	"kvstore/storage/entry"
)

var _ entry.Iterator = (*Iter)(nil)

// Iter walks the records of a table. It holds one partition and one data block.
type Iter struct {
	r          *Reader
	cachedOnly bool
	scan       *scan // nil: blocks come through the cache
	err        error

	inTop    int // the place in the top index, of part
	part     partition
	partAt   handle
	partHeld cache.Handle
	inPart   int // the place in part's index, of data
	data     block
	dataAt   handle
	dataHeld cache.Handle
	inData   int

	key []byte
	row rowView
}

// NewIter returns an iterator that is not positioned yet. It reads through the cache.
func (r *Reader) NewIter() entry.Iterator { return r.newIter() }

// NewScanIter returns an iterator for reading a large part of the table once: it reads ahead and leaves the cache alone.
func (r *Reader) NewScanIter() entry.Iterator {
	i := r.newIter()
	i.scan = &scan{r: r}
	return i
}

func (r *Reader) newIter() *Iter { return &Iter{r: r, inTop: -1} }

// Reset makes an iterator that is new or closed one of r, not positioned yet, as NewIter does. With nil it lets go of
// the table.
func (i *Iter) Reset(r *Reader) { *i = Iter{r: r, inTop: -1, key: i.key[:0]} }

// First implements entry.Iterator.
func (i *Iter) First() bool {
	i.err = nil
	return i.r.top.n > 0 && i.loadPartition(0) && i.loadData(0) && i.forward(0)
}

// Last implements entry.Iterator.
func (i *Iter) Last() bool {
	i.err = nil
	return i.r.top.n > 0 && i.loadPartition(i.r.top.n-1) && i.loadData(i.part.index.n-1) && i.backward(i.data.n-1)
}

// SeekGE implements entry.Iterator.
func (i *Iter) SeekGE(key []byte) bool {
	at, ok := i.seek(key)
	return ok && at >= 0 && i.forward(at)
}

// SeekLT implements entry.Iterator.
func (i *Iter) SeekLT(key []byte) bool {
	at, ok := i.seek(key)
	if !ok {
		return false
	}
	if at < 0 {
		return i.Last()
	}
	return i.backward(at - 1)
}

// seek loads the block where key is or would be and returns the place in it, or -1 when all keys are before it.
func (i *Iter) seek(key []byte) (at int, ok bool) {
	i.err = nil
	top, ok := i.r.top.search(key, entry.MaxSeq)
	if !ok {
		return 0, i.damage(i.r.footer.top, "a row of the top index cannot be read")
	}
	if top == i.r.top.n {
		return -1, true
	}
	if !i.loadPartition(top) {
		return 0, false
	}
	part, ok := i.part.index.search(key, entry.MaxSeq)
	if !ok || part == i.part.index.n {
		return 0, i.damage(i.partAt, "the index does not agree with the one above")
	}
	if !i.loadData(part) {
		return 0, false
	}
	if at, ok = i.data.search(key, entry.MaxSeq); !ok {
		return 0, i.damage(i.dataAt, "a row cannot be read")
	}
	return at, true
}

// Next implements entry.Iterator.
func (i *Iter) Next() bool { return i.err == nil && i.forward(i.inData+1) }

// Prev implements entry.Iterator.
func (i *Iter) Prev() bool { return i.err == nil && i.backward(i.inData-1) }

// Key implements entry.Iterator.
func (i *Iter) Key() []byte { return i.key }

// Seq implements entry.Iterator.
func (i *Iter) Seq() uint64 { return i.row.seq }

// Kind implements entry.Iterator.
func (i *Iter) Kind() entry.Kind { return i.row.kind }

// Value implements entry.Iterator.
func (i *Iter) Value() []byte { return i.row.value }

// Err implements entry.Iterator.
func (i *Iter) Err() error { return i.err }

// Close implements entry.Iterator.
func (i *Iter) Close() error {
	i.dataHeld.Release()
	i.partHeld.Release()
	i.inTop = -1
	return i.err
}

// forward stands on a row of the block, or on the first row of a block after it when there is no such row.
func (i *Iter) forward(at int) bool {
	for at >= i.data.n {
		if i.inPart+1 < i.part.index.n {
			if !i.loadData(i.inPart + 1) {
				return false
			}
		} else if i.inTop+1 >= i.r.top.n || !i.loadPartition(i.inTop+1) || !i.loadData(0) {
			return false
		}
		at = 0
	}
	return i.stand(at)
}

// backward stands on a row of the block, or on the last row of a block before it when there is no such row.
func (i *Iter) backward(at int) bool {
	for at < 0 {
		if i.inPart > 0 {
			if !i.loadData(i.inPart - 1) {
				return false
			}
		} else if i.inTop <= 0 || !i.loadPartition(i.inTop-1) || !i.loadData(i.part.index.n-1) {
			return false
		}
		at = i.data.n - 1
	}
	return i.stand(at)
}

func (i *Iter) stand(at int) bool {
	row, ok := i.data.row(at)
	if !ok {
		return i.damage(i.dataAt, "a row cannot be read")
	}
	i.inData, i.row = at, row
	i.key = append(append(i.key[:0], i.data.prefix...), row.suffix...)
	return true
}

// loadPartition goes to a row of the top index.
func (i *Iter) loadPartition(at int) bool {
	if i.inTop == at {
		return true
	}
	i.partHeld.Release()
	i.dataHeld.Release()
	i.inTop, i.inPart = -1, -1
	h, err := i.r.child(&i.r.top, at, i.r.footer.top)
	if err != nil {
		return i.fail(err)
	}
	var contents []byte
	if i.scan != nil {
		contents, err = i.scan.block(h, &i.scan.part)
	} else if i.partHeld, err = i.r.block(h, i.cachedOnly); err == nil {
		contents = i.partHeld.Data()
	}
	if err != nil {
		return i.fail(err)
	}
	var ok bool
	if i.part, ok = parsePartition(contents); !ok || i.part.index.n == 0 {
		return i.damage(h, "a partition cannot be read")
	}
	i.inTop, i.partAt = at, h
	return true
}

// loadData goes to a row of the partition's index.
func (i *Iter) loadData(at int) bool {
	if i.inPart == at {
		return true
	}
	i.dataHeld.Release()
	i.inPart = -1
	h, err := i.r.child(&i.part.index, at, i.partAt)
	if err != nil {
		return i.fail(err)
	}
	var contents []byte
	if i.scan != nil {
		contents, err = i.scan.block(h, &i.scan.data)
	} else if i.dataHeld, err = i.r.block(h, i.cachedOnly); err == nil {
		contents = i.dataHeld.Data()
	}
	if err != nil {
		return i.fail(err)
	}
	var ok bool
	if i.data, ok = parseBlock(contents); !ok || i.data.n == 0 {
		return i.damage(h, "a block cannot be read")
	}
	i.inPart, i.dataAt = at, h
	return true
}

func (i *Iter) fail(err error) bool {
	i.err = err
	return false
}

func (i *Iter) damage(at handle, reason string) bool {
	return i.fail(i.r.damage(at.offset, reason))
}
