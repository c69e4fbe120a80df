package version

import (
	"math"
	"math/bits"
	"strconv"
)

// Value is what a plain GET sees of an object.
type Value struct {
	Exists   bool
	Data     []byte
	Deadline int64 // Unix milliseconds, 0 for none
	Counter  bool  // Data is the decimal form of Int
	Int      int64
}

// Value returns what a plain GET sees at a Unix millisecond: the newest sibling
// by the last-writer order. Counter siblings are added to the newest sibling
// that is not one, as far as that is an integer; a string that is none wins.
// The key's deadline is that of the newest sibling of all.
//
// Data is a sibling's value, or the digits of a counter appended to buf[:0]. A
// sum beyond 64 bits, which only increments on both sides of a partition can
// make, stands at the end of the range.
func (o *Object) Value(nowMillis int64, buf []byte) Value {
	newest := o.Newest()
	if newest == nil || Expired(newest.Deadline, nowMillis) {
		return Value{}
	}
	if len(o.Siblings) == 1 && newest.Kind != Counter {
		return newest.value(newest.Deadline)
	}
	var base *Sibling
	var sum int128
	counters := 0
	for i := range o.Siblings {
		if s := &o.Siblings[i]; s.Kind == Counter {
			sum.add(s.Delta)
			counters++
		} else {
			base = s
		}
	}
	if counters == 0 {
		return base.value(newest.Deadline)
	}
	if base != nil && base.Kind == String {
		n, ok := ParseInt(base.Value)
		if !ok {
			return base.value(newest.Deadline)
		}
		sum.add(n)
	}
	v := Value{Exists: true, Counter: true, Int: sum.clamp(), Deadline: newest.Deadline}
	v.Data = strconv.AppendInt(buf[:0], v.Int, 10)
	return v
}

// value returns what a sibling that is not a counter is by itself.
func (s *Sibling) value(deadline int64) Value {
	if s.Kind != String {
		return Value{}
	}
	return Value{Exists: true, Data: s.Value, Deadline: deadline}
}

// Expired reports whether a deadline has come at a Unix millisecond.
func Expired(deadline, nowMillis int64) bool { return deadline != 0 && deadline <= nowMillis }

// ParseInt reads the decimal form of an integer as Redis takes it: no sign but
// one minus, no leading zeros, no spaces.
func ParseInt(b []byte) (n int64, ok bool) {
	digits, limit, negative := b, uint64(math.MaxInt64), false
	if len(b) > 0 && b[0] == '-' {
		digits, limit, negative = b[1:], limit+1, true
	}
	if len(digits) == 0 || len(digits) > 19 || (digits[0] == '0' && len(b) > 1) {
		return 0, false
	}
	var u uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0')
	}
	if u > limit {
		return 0, false
	}
	if negative {
		return -int64(u), true
	}
	return int64(u), true
}

// int128 sums counters without caring for their order.
type int128 struct{ hi, lo uint64 }

func (s *int128) add(n int64) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, uint64(n), 0)
	s.hi, _ = bits.Add64(s.hi, uint64(n>>63), carry)
}

// clamp returns the nearest integer of 64 bits.
func (s *int128) clamp() int64 {
	switch {
	case s.hi == uint64(int64(s.lo)>>63):
		return int64(s.lo)
	case int64(s.hi) < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}
