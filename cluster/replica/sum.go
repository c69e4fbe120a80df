package replica

import "github.com/cespare/xxhash/v2"

// Sum returns the hash of a record for comparison with other replicas: 64 bits of
// the engine key and the encoded object, the same on every node and never 0. The
// engine keeps, for each leaf of the token space, the XOR of the sums of its
// records; every write says what it changes of that. Objects encode canonically,
// so replicas that hold equal objects have equal sums.
func Sum(key, value []byte) uint64 { return sumOf(xxhash.Sum64(key), value) }

// sumOf is Sum with the hash of the key at hand.
func sumOf(keyHash uint64, value []byte) uint64 {
	// The finalizer of splitmix64 (Steele, Lea, Flood, 2014): without it two keys
	// that exchanged their values would have the same XOR as before.
	x := keyHash ^ xxhash.Sum64(value)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	if x == 0 {
		return 1
	}
	return x
}

// delta returns what replacing the record that was read by write changes of its
// leaf's sum. An empty write is its removal.
func (s *Scratch) delta(write []byte) (d uint64) {
	k := xxhash.Sum64(s.key)
	if len(s.raw) > 0 {
		d = sumOf(k, s.raw)
	}
	if len(write) > 0 {
		d ^= sumOf(k, write)
	}
	return d
}
