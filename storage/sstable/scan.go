package sstable

import (
	"bytes"
	"fmt"
	"slices"

	"kvstore/storage/entry"
)

// scanWindow is how much of the file a scan reads at once.
const scanWindow = 256 << 10

// scan reads blocks in their order without the cache, into memory that the next block takes over.
type scan struct {
	r          *Reader
	window     []byte
	start      uint64 // of the window in the file
	part, data []byte
}

// block reads a block into *buf.
func (s *scan) block(h handle, buf *[]byte) ([]byte, error) {
	if h.offset < s.start || h.offset+uint64(h.length) > s.start+uint64(len(s.window)) {
		n := max(uint64(h.length), min(scanWindow, s.r.size-h.offset))
		if uint64(cap(s.window)) < n {
			s.window = make([]byte, n)
		}
		s.window, s.start = s.window[:n], h.offset
		if err := s.r.readAt(s.window, h.offset); err != nil {
			s.window = s.window[:0]
			return nil, err
		}
	}
	stored, kind, length, err := unseal(h.offset, s.window[h.offset-s.start:][:h.length])
	if err != nil {
		return nil, s.r.damage(h.offset, err.Error())
	}
	if cap(*buf) < length {
		*buf = make([]byte, max(length, 2*DefaultBlockSize))
	}
	*buf = (*buf)[:length]
	if err := s.r.decoder.decode(*buf, stored, kind); err != nil {
		return nil, s.r.damage(h.offset, err.Error())
	}
	return *buf, nil
}

// Verify reads the whole table and checks every block, the order of the records, that the indexes and the filter lead to
// each, and that the properties are right.
func (r *Reader) Verify() error { return r.VerifyAt(nil) }

// VerifyAt is Verify at the pace of somebody else: pace, if it is not nil, is called after each data block with the bytes
// verified since, and ends it with an error.
func (r *Reader) VerifyAt(pace func(bytes int) error) error {
	var tail [footerSize]byte
	end := r.size - footerSize
	if err := r.readAt(tail[:], end); err != nil {
		return err
	}
	var f footer
	if reason := f.parse(tail[:], end); reason != "" {
		return r.damage(end, reason)
	}
	s := &scan{r: r}
	for _, h := range []handle{f.properties, f.top, f.ranges} {
		if h.length > 0 {
			if _, err := s.block(h, &s.data); err != nil {
				return err
			}
		}
	}
	i := r.newIter()
	i.scan = s
	defer i.Close()
	var entries uint64
	var last []byte
	lastSeq := uint64(0)
	verified := handle{}
	for ok := i.First(); ok; ok = i.Next() {
		if pace != nil && verified != i.dataAt {
			verified = i.dataAt
			if err := pace(int(verified.length)); err != nil {
				return err
			}
		}
		if c := bytes.Compare(last, i.key); entries > 0 && (c > 0 || c == 0 && lastSeq <= i.row.seq) {
			return r.damage(i.dataAt.offset, "records are not in order")
		}
		if !i.part.mayHave(keyHash(i.key)) {
			return r.damage(i.partAt.offset, "the filter does not know a key")
		}
		if i.row.seq < r.info.MinSeq || i.row.seq > r.info.MaxSeq {
			return r.damage(i.dataAt.offset, "a sequence number is not within the properties' bounds")
		}
		if !i.underSeparator() {
			return r.damage(i.partAt.offset, "a key is not where its separator says")
		}
		last, lastSeq = append(last[:0], i.key...), i.row.seq
		entries++
	}
	if i.err != nil {
		return i.err
	}
	if entries != r.info.Entries {
		return r.damage(r.footer.properties.offset, fmt.Sprintf("%d entries where the properties say %d", entries, r.info.Entries))
	}
	return nil
}

// underSeparator reports whether a search for the current key would come to its block, or to one before it that ends with
// another version of the key.
func (i *Iter) underSeparator() bool {
	at, ok := i.part.index.search(i.key, entry.MaxSeq)
	if !ok || at > i.inPart {
		return false
	}
	if at == i.inPart {
		return true
	}
	v, ok := i.part.index.row(at)
	return ok && bytes.Equal(i.key, slices.Concat(i.part.index.prefix, v.suffix))
}
