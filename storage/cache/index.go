package cache

// The index of a shard is a hash table with linear probing. A word holds the lower half of a block's hash in its upper
// half, which also gives the block's home slot, and the block's place in its lower half.

func place(word uint64) int { return (int(uint32(word)) - 1) * align }

// lookup returns the index slot of a block.
func (s *shard) lookup(h, file, offset uint64) (int, bool) {
	mask := len(s.index) - 1
	for i := int(uint32(h)) & mask; s.index[i] != 0; i = (i + 1) & mask {
		if x := s.index[i]; uint32(x>>32) == uint32(h) {
			if r := s.at(place(x)); r.offset == offset && r.file == file {
				return i, true
			}
		}
	}
	return 0, false
}

func (s *shard) insert(h uint64, place int) {
	mask := len(s.index) - 1
	i := int(uint32(h)) & mask
	for s.index[i] != 0 {
		i = (i + 1) & mask
	}
	s.index[i] = h<<32 | uint64(place/align+1)
}

// delete empties a slot and moves back the words that were pushed on by it.
func (s *shard) delete(i int) {
	mask := len(s.index) - 1
	for j := (i + 1) & mask; s.index[j] != 0; j = (j + 1) & mask {
		home := int(s.index[j]>>32) & mask
		if (j-home)&mask >= (j-i)&mask {
			s.index[i] = s.index[j]
			i = j
		}
	}
	s.index[i] = 0
}

// growIndex doubles the index.
func (s *shard) growIndex() {
	old := s.index
	s.index = make([]uint64, 2*len(old))
	mask := len(s.index) - 1
	for _, x := range old {
		if x == 0 {
			continue
		}
		i := int(x>>32) & mask
		for s.index[i] != 0 {
			i = (i + 1) & mask
		}
		s.index[i] = x
	}
}
