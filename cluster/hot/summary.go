package hot

import (
	"kvstore/cluster/ring"
)

const (
	// counters is how many keys a summary tells apart: the error of a count is at most 1/512 of all, an
	// eighth of what makes a key hot.
	counters = 512
	// KeyShown is how many bytes of a key are kept to be shown.
	KeyShown = 128
)

// Summary counts the heaviest keys of a weighted stream; see the package's comment. It is not safe for
// concurrent use.
type Summary struct {
	total   float64 // the weight of the stream
	entries []entry
	names   []byte   // KeyShown bytes for each entry
	heap    []uint16 // entries, the least count first
	slots   []uint16 // 1 + an entry, at or behind its token's place; twice as many as entries
}

// entry is a counter and the key that has it.
type entry struct {
	token  ring.Token
	count  float64
	err    float64 // of count, what others may have had
	size   uint32  // bytes of the key
	db     uint8
	heaped uint16 // its place in the heap
}

// Key is a key of a summary, with what it was counted for.
type Key struct {
	Token ring.Token
	DB    uint8
	Name  []byte // its first KeyShown bytes at most
	Size  int    // bytes of the whole
	// Count is more than the key's weight by Err at most, never less.
	Count, Err float64
}

// NewSummary returns a summary of size keys, at most 32,768.
func NewSummary(size int) *Summary {
	places := 1
	for places < 2*size {
		places *= 2
	}
	return &Summary{
		entries: make([]entry, 0, size), names: make([]byte, size*KeyShown),
		heap: make([]uint16, 0, size), slots: make([]uint16, places),
	}
}

// Add counts weight for a key.
func (s *Summary) Add(token ring.Token, db uint8, key []byte, weight float64) {
	s.total += weight
	at := s.place(token)
	if i := s.slots[at]; i != 0 {
		e := &s.entries[i-1]
		e.count += weight
		s.sink(int(e.heaped))
		return
	}
	if n := len(s.entries); n < cap(s.entries) {
		s.entries = append(s.entries, entry{token: token, count: weight, heaped: uint16(n)})
		s.heap = append(s.heap, uint16(n))
		s.slots[at] = uint16(n + 1)
		s.name(n, db, key)
		s.rise(n)
		return
	}
	i := int(s.heap[0])
	e := &s.entries[i]
	s.drop(e.token)
	e.token, e.err = token, e.count
	e.count += weight
	s.slots[s.place(token)] = uint16(i + 1)
	s.name(i, db, key)
	s.sink(0)
}

// name notes the key of an entry.
func (s *Summary) name(i int, db uint8, key []byte) {
	s.entries[i].db, s.entries[i].size = db, uint32(len(key))
	copy(s.names[i*KeyShown:(i+1)*KeyShown], key)
}

// place returns where a token's entry is, or would be. Tokens end in bits of a hash.
func (s *Summary) place(token ring.Token) int {
	mask := len(s.slots) - 1
	at := int(token) & mask
	for s.slots[at] != 0 && s.entries[s.slots[at]-1].token != token {
		at = (at + 1) & mask
	}
	return at
}

// drop takes a token out of the slots, and moves up those behind that would not be found any more (Knuth,
// The Art of Computer Programming, 6.4, algorithm R).
func (s *Summary) drop(token ring.Token) {
	mask := len(s.slots) - 1
	hole := s.place(token)
	for at := (hole + 1) & mask; s.slots[at] != 0; at = (at + 1) & mask {
		home := int(s.entries[s.slots[at]-1].token) & mask
		if (at-home)&mask >= (at-hole)&mask {
			s.slots[hole] = s.slots[at]
			hole = at
		}
	}
	s.slots[hole] = 0
}

// sink moves an entry of the heap down to its place, after its count grew.
func (s *Summary) sink(at int) {
	for {
		least := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(s.heap); child++ {
			if s.entries[s.heap[child]].count < s.entries[s.heap[least]].count {
				least = child
			}
		}
		if least == at {
			return
		}
		s.swap(at, least)
		at = least
	}
}

// rise moves a new entry of the heap up to its place.
func (s *Summary) rise(at int) {
	for at > 0 {
		parent := (at - 1) / 2
		if s.entries[s.heap[parent]].count <= s.entries[s.heap[at]].count {
			return
		}
		s.swap(at, parent)
		at = parent
	}
}

func (s *Summary) swap(a, b int) {
	s.heap[a], s.heap[b] = s.heap[b], s.heap[a]
	s.entries[s.heap[a]].heaped, s.entries[s.heap[b]].heaped = uint16(a), uint16(b)
}

// Decay multiplies everything counted by a factor of at most 1. The bounds hold as before, of the weights
// multiplied alike.
func (s *Summary) Decay(factor float64) {
	s.total *= factor
	for i := range s.entries {
		s.entries[i].count *= factor
		s.entries[i].err *= factor
	}
}

// Total returns the weight of the stream.
func (s *Summary) Total() float64 { return s.total }

// Keys calls f for every key that is certain to have had at least weight, in no order. The name is valid
// during the call.
func (s *Summary) Keys(weight float64, f func(k Key)) {
	for i := range s.entries {
		e := &s.entries[i]
		if e.count-e.err >= weight {
			name := s.names[i*KeyShown:]
			f(Key{Token: e.token, DB: e.db, Name: name[:min(int(e.size), KeyShown)], Size: int(e.size), Count: e.count, Err: e.err})
		}
	}
}
