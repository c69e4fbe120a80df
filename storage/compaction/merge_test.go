package compaction

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kvstore/storage/entry"
)

type record struct {
	key  string
	seq  uint64
	kind entry.Kind
}

func compareRecords(a, b record) int {
	if c := bytes.Compare([]byte(a.key), []byte(b.key)); c != 0 {
		return c
	}
	switch {
	case a.seq > b.seq:
		return -1
	case a.seq < b.seq:
		return 1
	}
	return 0
}

// naive is an iterator over a sorted slice. After fuse moves it fails, if fuse is not 0 at first.
type naive struct {
	records []record
	at      int
	fuse    int
	err     error
	closed  *int
}

var errFuse = errors.New("the fuse blew")

func (n *naive) to(at int) bool {
	if n.fuse > 0 {
		if n.fuse--; n.fuse == 0 {
			n.err = errFuse
			return false
		}
	}
	n.at = at
	return at >= 0 && at < len(n.records)
}

func (n *naive) seek(key []byte) int {
	i, _ := slices.BinarySearchFunc(n.records, record{key: string(key), seq: entry.MaxSeq}, compareRecords)
	return i
}

func (n *naive) SeekGE(key []byte) bool { return n.to(n.seek(key)) }
func (n *naive) SeekLT(key []byte) bool { return n.to(n.seek(key) - 1) }
func (n *naive) First() bool            { return n.to(0) }
func (n *naive) Last() bool             { return n.to(len(n.records) - 1) }
func (n *naive) Next() bool             { return n.to(n.at + 1) }
func (n *naive) Prev() bool             { return n.to(n.at - 1) }
func (n *naive) Key() []byte            { return []byte(n.records[n.at].key) }
func (n *naive) Seq() uint64            { return n.records[n.at].seq }
func (n *naive) Kind() entry.Kind       { return n.records[n.at].kind }
func (n *naive) Value() []byte          { return fmt.Append(nil, n.records[n.at].seq) }
func (n *naive) Err() error             { return n.err }
func (n *naive) Close() error {
	if n.closed != nil {
		*n.closed++
	}
	return nil
}

// deal makes random records and deals them to that many sources.
func deal(r *rand.Rand, records, sources int) (all []record, iters []entry.Iterator) {
	parts := make([][]record, sources)
	for seq := range uint64(records) {
		e := record{fmt.Sprint(r.IntN(40)), seq + 1, entry.Kind(r.IntN(2))}
		all = append(all, e)
		i := r.IntN(sources)
		parts[i] = append(parts[i], e)
	}
	slices.SortFunc(all, compareRecords)
	for _, part := range parts {
		slices.SortFunc(part, compareRecords)
		iters = append(iters, &naive{records: part})
	}
	return all, iters
}

func TestMergeAgainstNaiveTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		all, iters := deal(r, r.IntN(200), 1+r.IntN(6))
		twin, m := &naive{records: all}, NewMerge(iters...)
		want, got := twin.First(), m.First()
		for step := range 2000 {
			if want != got || m.Err() != nil {
				t.Fatalf("seed %d step %d: positioned %v, want %v, %v", seed, step, got, want, m.Err())
			}
			if got && (!bytes.Equal(m.Key(), twin.Key()) || m.Seq() != twin.Seq() || m.Kind() != twin.Kind() || !bytes.Equal(m.Value(), twin.Value())) {
				t.Fatalf("seed %d step %d: %s/%d, want %s/%d", seed, step, m.Key(), m.Seq(), twin.Key(), twin.Seq())
			}
			key := fmt.Append(nil, r.IntN(45))
			switch action := r.IntN(30); {
			case action == 0:
				want, got = twin.First(), m.First()
			case action == 1:
				want, got = twin.Last(), m.Last()
			case action == 2 || !got && action%2 == 0:
				want, got = twin.SeekGE(key), m.SeekGE(key)
			case action == 3 || !got:
				want, got = twin.SeekLT(key), m.SeekLT(key)
			case action < 17:
				want, got = twin.Next(), m.Next()
			default:
				want, got = twin.Prev(), m.Prev()
			}
		}
	}
}

func TestMergeReportsErrors(t *testing.T) {
	for fuse := 1; fuse < 40; fuse++ {
		r := rand.New(rand.NewPCG(uint64(fuse), 2))
		all, iters := deal(r, 100, 3)
		closed := 0
		for _, it := range iters {
			it.(*naive).closed = &closed
		}
		iters[1].(*naive).fuse = fuse
		m := NewMerge(iters...)
		n, ok := 0, m.First()
		for ; ok && n < 20; n++ {
			ok = m.Next()
		}
		for ; ok && n > 0; n-- {
			ok = m.Prev()
		}
		for ok = ok && m.First(); ok; ok = m.Next() {
			n++
		}
		if err := m.Err(); err != nil && !errors.Is(err, errFuse) || err == nil && n < len(all)-1 {
			t.Errorf("fuse %d: ended after %d of %d with %v", fuse, n, len(all), err)
		}
		if err := m.Close(); closed != 3 || !errors.Is(err, m.Err()) {
			t.Errorf("fuse %d: %d of 3 closed, %v", fuse, closed, err)
		}
	}
}

func BenchmarkMergeNext(b *testing.B) {
	for _, sources := range []int{2, 8} {
		b.Run(fmt.Sprint(sources), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			parts := make([]*fixed, sources)
			for i := range parts {
				parts[i] = &fixed{}
				for range 20_000 {
					parts[i].keys = append(parts[i].keys, fmt.Appendf(nil, "%016x-key", r.Uint64()))
				}
				slices.SortFunc(parts[i].keys, bytes.Compare)
			}
			iters := make([]entry.Iterator, sources)
			for i := range parts {
				iters[i] = parts[i]
			}
			m := NewMerge(iters...)
			ok := m.First()
			b.ReportAllocs()
			for b.Loop() {
				if ok = ok && m.Next(); !ok {
					ok = m.First()
				}
			}
		})
	}
}

// fixed walks forward over keys without allocating.
type fixed struct {
	naive
	keys [][]byte
	at   int
}

func (f *fixed) First() bool  { f.at = 0; return true }
func (f *fixed) Next() bool   { f.at++; return f.at < len(f.keys) }
func (f *fixed) Key() []byte  { return f.keys[f.at] }
func (f *fixed) Seq() uint64  { return 1 }
func (f *fixed) Err() error   { return nil }
func (f *fixed) Close() error { return nil }

// TestCompareByPrefix compares keys that differ in their first eight bytes, behind them, or by zeros at their end.
func TestCompareByPrefix(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "a", "a\x00", "a\x00b",
		"abcdefg", "abcdefg\x00", "abcdefgh", "abcdefgh\x00", "abcdefghi", "abcdefgi", "\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\x00"}
	for _, x := range keys {
		for _, y := range keys {
			var a, b source
			a.at([]byte(x), 1)
			b.at([]byte(y), 1)
			if got, want := compare(&a, &b), strings.Compare(x, y); got != want {
				t.Errorf("%q against %q: %d, want %d", x, y, got, want)
			}
			m := Merge{forward: true}
			if got := m.less(&a, &b); got != (x < y) {
				t.Errorf("%q before %q: %v", x, y, got)
			}
		}
	}
}
