package hot

import "kvstore/cluster/ring"

// set is an immutable set of tokens; nil is the empty one.
type set struct {
	n      int
	places []ring.Token // each at or behind its place; 0 is none, and never hot
}

func newSet(tokens []ring.Token) *set {
	if len(tokens) == 0 {
		return nil
	}
	size := 8
	for size < 4*len(tokens) {
		size *= 2
	}
	s := &set{places: make([]ring.Token, size)}
	for _, token := range tokens {
		if token == 0 || s.has(token) {
			continue
		}
		at := int(token) & (size - 1)
		for s.places[at] != 0 {
			at = (at + 1) & (size - 1)
		}
		s.places[at] = token
		s.n++
	}
	return s
}

func (s *set) has(token ring.Token) bool {
	if s == nil {
		return false
	}
	mask := len(s.places) - 1
	for at := int(token) & mask; s.places[at] != 0; at = (at + 1) & mask {
		if s.places[at] == token {
			return true
		}
	}
	return false
}

// is reports whether the set is that of tokens, which differ.
func (s *set) is(tokens []ring.Token) bool {
	if s.len() != len(tokens) {
		return false
	}
	for _, token := range tokens {
		if !s.has(token) {
			return false
		}
	}
	return true
}

func (s *set) len() int {
	if s == nil {
		return 0
	}
	return s.n
}
