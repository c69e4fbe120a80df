package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	keySize = 16
	// Values have at least minValue bytes, and less than minValue+valueSpread.
	minValue, valueSpread = 64, 193
)

func keyOf(n int) string { return fmt.Sprintf("key:%012d", n) }

// mix makes numbers of numbers that look drawn: splitmix64 (Steele and others, 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func valueSize(n int) int { return minValue + int(mix(uint64(n))%valueSpread) }

// appendValue appends a version of the value of a key: both numbers, and digits that
// depend on them.
func appendValue(dst []byte, n int, version uint32) []byte {
	end := len(dst) + valueSize(n)
	dst = fmt.Appendf(dst, "%d:%d:", n, version)
	for state := mix(uint64(n)) ^ uint64(version); len(dst) < end; {
		state = mix(state)
		dst = fmt.Appendf(dst, "%016x", state)
	}
	return dst[:end]
}

// versionOf takes a value of a key apart.
func versionOf(n int, value string) (uint32, error) {
	number, rest, _ := strings.Cut(value, ":")
	version, _, found := strings.Cut(rest, ":")
	v, err := strconv.ParseUint(version, 10, 32)
	if err != nil || !found || number != strconv.Itoa(n) || value != string(appendValue(nil, n, uint32(v))) {
		return 0, errors.New("a value that nobody has written: " + value)
	}
	return uint32(v), nil
}

// payload is how many bytes the keys and values of so many keys have.
func payload(keys int) (bytes int64) {
	for n := range keys {
		bytes += int64(keySize + valueSize(n))
	}
	return bytes
}

// ledger is what became of the writes of keys. Each number in it belongs to the client of
// that key, until all have ended.
type ledger struct {
	acknowledged []uint32 // version
	tried        []uint32 // the last version that was sent
}

func newLedger(keys int) *ledger { return &ledger{make([]uint32, keys), make([]uint32, keys)} }

// verdict is what a read shows.
type verdict uint8

const (
	right verdict = iota
	missing
	old
)

// judge compares a value with what was written; found is false when there was none.
func (l *ledger) judge(n int, value string, found bool) (verdict, error) {
	if !found {
		return missing, nil
	}
	v, err := versionOf(n, value)
	switch {
	case err != nil:
		return old, err
	case v < l.acknowledged[n]:
		return old, nil
	case v > l.tried[n]:
		return right, fmt.Errorf("key %d has version %d, of %d that were written", n, v, l.tried[n])
	}
	return right, nil
}
