package sstable

import (
	"slices"

	"kvstore/storage/corrupt"
)

// BlockInfo describes a block of a table to people.
type BlockInfo struct {
	// Kind is "data" or "partition".
	Kind   string
	Offset uint64
	// Stored is its bytes in the file, trailer included, and Length those of its contents.
	Stored, Length int
	Compression    string
	// Rows counts records, or a partition's data blocks. Filter is the bytes of a partition's filter.
	Rows, Filter int
	// First and Last are its first and last key; a partition's are separators.
	First, Last []byte
	// Damage is why the block cannot be read; then only Kind and Offset are known.
	Damage *corrupt.Error
}

// Blocks calls fn with each partition and, behind it, its data blocks. It ends with fn's first error, or one of reading
// that is not damage.
func (r *Reader) Blocks(fn func(*BlockInfo) error) error {
	s := &scan{r: r}
	for i := range r.parts {
		at := r.parts[i].at
		info, contents, err := s.describe(at, "partition", &s.part)
		if err != nil {
			return err
		}
		p, ok := parsePartition(contents)
		if info.Damage == nil && !ok {
			info.Damage = corrupt.New(r.options.Name, int64(at.offset), "a partition cannot be read")
		}
		if info.Damage == nil {
			info.Filter = len(p.cells)
			info.fill(&p.index)
		}
		if err := fn(&info); err != nil {
			return err
		}
		if info.Damage != nil {
			continue
		}
		for j := range p.index.n {
			if err := r.describeData(s, &p, at, j, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reader) describeData(s *scan, p *partition, at handle, j int, fn func(*BlockInfo) error) error {
	h, err := r.child(&p.index, j, at)
	if err != nil {
		return err
	}
	info, contents, err := s.describe(h, "data", &s.data)
	if err != nil {
		return err
	}
	if info.Damage == nil {
		if b, ok := parseBlock(contents); ok {
			info.fill(&b)
		} else {
			info.Damage = corrupt.New(r.options.Name, int64(h.offset), "a block cannot be read")
		}
	}
	return fn(&info)
}

// describe reads a block and what its trailer says.
func (s *scan) describe(h handle, kind string, buf *[]byte) (BlockInfo, []byte, error) {
	info := BlockInfo{Kind: kind, Offset: h.offset, Stored: int(h.length)}
	contents, err := s.block(h, buf)
	if damage, ok := damageOf(err); ok {
		info.Damage = damage
		return info, nil, nil
	}
	if err != nil {
		return info, nil, err
	}
	info.Length = len(contents)
	info.Compression = compressionName(s.window[h.offset-s.start:][h.length-trailerSize])
	return info, contents, nil
}

func (i *BlockInfo) fill(b *block) {
	i.Rows = b.n
	if b.n == 0 {
		return
	}
	first, _ := b.row(0)
	last, _ := b.row(b.n - 1)
	i.First, i.Last = slices.Concat(b.prefix, first.suffix), slices.Concat(b.prefix, last.suffix)
}

func compressionName(kind byte) string {
	switch kind {
	case compressS2:
		return "s2"
	case compressZstd:
		return "zstd"
	}
	return "none"
}

// VerifyAll is Verify that goes on behind damage, and reports each stretch that cannot be read.
func (r *Reader) VerifyAll() (lost []Lost, err error) {
	first := r.Verify()
	if first == nil {
		return nil, nil
	}
	damage, ok := damageOf(first)
	if !ok {
		return nil, first
	}
	s := r.NewSalvage()
	for ok := s.First(); ok; ok = s.Next() {
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if len(s.Lost) == 0 {
		// Every record can be read, but something about them does not hold.
		return []Lost{{Damage: damage}}, nil
	}
	return s.Lost, nil
}
