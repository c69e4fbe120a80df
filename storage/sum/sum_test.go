package sum

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestLeavesAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 30 {
		model := make([]uint64, Count)
		var a, b Leaves
		for range r.IntN(3000) {
			leaf, delta := uint32(r.IntN(Count)), r.Uint64()
			if r.IntN(3) == 0 {
				leaf %= 2000
			}
			if r.IntN(2) == 0 {
				a.Xor(leaf, delta)
			} else {
				b.Xor(leaf, delta)
			}
			model[leaf] ^= delta
		}
		var both Leaves
		both.Add(&a)
		both.Add(&b)
		back, err := Decode(both.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		for i := range Pages {
			a.Take(&b, i)
		}
		if !b.Empty() {
			t.Fatal("something is left behind")
		}
		got := make([]uint64, PageLeaves)
		for lo := uint32(0); lo < Count; lo += PageLeaves {
			clear(got)
			back.XorInto(got, lo)
			total := uint64(0)
			for i, want := range model[lo : lo+PageLeaves] {
				total ^= want
				if leaf := lo + uint32(i); got[i] != want || a.At(leaf) != want || both.At(leaf) != want {
					t.Fatalf("leaf %d is %x, %x or %x, want %x", leaf, got[i], a.At(leaf), both.At(leaf), want)
				}
			}
			for _, l := range []*Leaves{back, &a, &both} {
				if page := int(lo / PageLeaves); l.Total(page) != total {
					t.Fatalf("page %d is %x in all, want %x", page, l.Total(page), total)
				}
			}
		}
	}
}

func TestEncodingOfThePackageComment(t *testing.T) {
	var l Leaves
	l.Xor(0, 1)
	l.Xor(5, 2)
	want := []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0}
	if got := l.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0x0f, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(l.Append(nil))
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("it does not read back: %v", err)
		}
	})
}

func TestSetAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	const size = 40
	var s Set
	var model [size]bool
	for range 5000 {
		x := Range{uint32(r.IntN(size)), uint32(r.IntN(size + 1))}
		add := r.IntN(2) == 0
		before := reflect.ValueOf(s).Len()
		old := append(Set(nil), s...)
		next := s.Without(x)
		if add {
			next = s.With(x)
		}
		if before != len(s) || len(s) > 0 && !reflect.DeepEqual(old, s) {
			t.Fatal("a set was changed in place")
		}
		s = next
		for i := x.Lo; i < x.Hi; i++ {
			model[i] = add
		}
		for i := range s {
			if s[i].Lo >= s[i].Hi || i > 0 && s[i-1].Hi >= s[i].Lo {
				t.Fatalf("%v is not in order", s)
			}
		}
		for lo := range uint32(size) {
			all := true
			for hi := lo; hi < size; hi++ {
				all = all && model[hi]
				if s.Has(Range{lo, hi + 1}) != all {
					t.Fatalf("%v has [%d,%d): want %v", s, lo, hi+1, all)
				}
			}
		}
	}
}

func TestCovered(t *testing.T) {
	token := func(leaf, rest uint64, more ...byte) []byte {
		v := leaf<<Shift | rest
		b := []byte{byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
		return append(b, more...)
	}
	for _, c := range []struct {
		name   string
		lo, hi []byte
		whole  Range
		ends   [2]Range
	}{
		{"two leaves", token(3, 0), token(5, 0), Range{3, 5}, [2]Range{{3, 3}, {5, 5}}},
		{"begins within", token(3, 1), token(5, 0), Range{4, 5}, [2]Range{{3, 4}, {5, 5}}},
		{"begins behind a first token", token(3, 0, 0), token(5, 0), Range{4, 5}, [2]Range{{3, 4}, {5, 5}}},
		{"ends within", token(3, 0), token(5, 1), Range{3, 5}, [2]Range{{3, 3}, {5, 6}}},
		{"ends behind a first token", token(3, 0), token(5, 0, 7), Range{3, 5}, [2]Range{{3, 3}, {5, 6}}},
		{"within one leaf", token(3, 1), token(3, 2), Range{}, [2]Range{{3, 4}, {}}},
		{"across a bound", token(3, 1), token(4, 2), Range{4, 4}, [2]Range{{3, 4}, {4, 5}}},
		{"everything", nil, []byte{0x40}, Range{0, Count}, [2]Range{{0, 0}, {Count, Count}}},
		{"everything and more", nil, []byte{0xff}, Range{0, Count}, [2]Range{{0, 0}, {Count, Count}}},
		{"system keys", []byte{0x41}, []byte{0x42}, Range{Count, Count}, [2]Range{{Count, Count}, {Count, Count}}},
	} {
		whole, ends := Covered(c.lo, c.hi)
		if whole != c.whole || ends != c.ends {
			t.Errorf("%s: %v and %v, want %v and %v", c.name, whole, ends, c.whole, c.ends)
		}
		touched := Set(nil).With(whole).With(ends[0]).With(ends[1]).With(Touched(c.lo, c.hi))
		if r := Touched(c.lo, c.hi); r.Lo < r.Hi && (len(touched) != 1 || touched[0] != r) {
			t.Errorf("%s: %v are touched, not %v", c.name, r, touched)
		}
	}
}

func TestLeaf(t *testing.T) {
	for _, c := range []struct {
		key  []byte
		leaf uint32
		ok   bool
	}{
		{[]byte{0, 0, 0x1f, 0xff, 0, 0, 0, 0, 0, 'k', 0}, 1, true},
		{[]byte{0x3f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 'k', 0}, Count - 1, true},
		{[]byte{0x40, 0, 0, 0, 0, 0, 0, 0, 0, 'k', 0}, 0, false},
		{[]byte{0, 0, 0}, 0, false},
	} {
		leaf, ok := Leaf(c.key)
		if ok != c.ok || ok && leaf != c.leaf {
			t.Errorf("leaf of %x is %d, %v", c.key, leaf, ok)
		}
	}
}
