package replica

import (
	"bytes"
	"testing"

	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// shelf is a store of one record, which costs nothing.
type shelf struct {
	*disk
	record []byte
	sum    uint64
}

func (s *shelf) TryGet(dst, _ []byte) ([]byte, bool, bool, error) {
	return append(dst, s.record...), len(s.record) > 0, true, nil
}

func (s *shelf) Set(_, value []byte, delta uint64) error {
	s.record = append(s.record[:0], value...)
	s.sum ^= delta
	return nil
}

// overwrite is a plain SET.
type overwrite struct {
	key   Key
	value []byte
	buf   []byte
}

func (o *overwrite) Key() Key   { return o.key }
func (o *overwrite) Keep()      {}
func (o *overwrite) Done(error) {}

func (o *overwrite) Apply(s *Scratch) ([]byte, error) {

	if _, err := s.Object.Update(version.Dot{Node: 1, Time: s.Object.Context.Newest() + 1}, nil, version.Sibling{Kind: version.String, Value: o.value}); err != nil {
		return nil, err
	}
	o.buf = s.Object.Append(o.buf[:0])
	return o.buf, nil
}

// BenchmarkDo is a write of a hundred bytes without an engine, and what of it the
// sums cost.
func BenchmarkDo(b *testing.B) {
	s := &shelf{disk: newDisk()}
	r := New(s, Options{Workers: 1})
	defer r.Close()
	name := []byte("key:000000012345")
	t := &overwrite{key: Key{Token: ring.TokenOf(0, name), Name: name}, value: bytes.Repeat([]byte("v"), 100)}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Do(t)
		}
	})
	b.Run("sums", func(b *testing.B) {
		scratch := Scratch{key: append(make([]byte, 10), name...), raw: s.record}
		var sum uint64
		for b.Loop() {
			sum ^= scratch.delta(t.buf)
		}
		s.sum ^= sum
	})
}
