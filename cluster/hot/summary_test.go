package hot

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/cluster/ring"
)

// stream is where a test's keys come from.
type stream struct {
	name string
	next func() uint64
}

func streams(seed uint64) []stream {
	r := rand.New(rand.NewPCG(seed, 1))
	steep, flat := rand.NewZipf(r, 1.2, 1, 1e6), rand.NewZipf(r, 1.01, 1, 1e5)
	round := uint64(0)
	return []stream{
		{"steep Zipf", steep.Uint64},
		{"flat Zipf", flat.Uint64},
		{"uniform", func() uint64 { return r.Uint64N(100_000) }},
		{"few keys", func() uint64 { return r.Uint64N(30) }},
		{"one after another", func() uint64 { round++; return round % 2000 }},
		{"one in three", func() uint64 {
			if r.Uint64N(3) == 0 {
				return 1 << 40
			}
			return r.Uint64()
		}},
	}
}

func keyOf(n uint64) (ring.Token, []byte) {
	name := fmt.Appendf(nil, "key:%d", n)
	return ring.TokenOf(0, name), name
}

// The bounds of Space-Saving hold against exact counting, while everything fades: what a key is said to have
// it has had, no count is too small, no error above the least count or W/m, and no key above W/m is missing.
func TestSummaryKeepsItsBounds(t *testing.T) {
	const size = 64
	for seed := range uint64(2) {
		for _, from := range streams(seed) {
			t.Run(fmt.Sprintf("%s %d", from.name, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				s, exact, total := NewSummary(size), make(map[ring.Token]float64), 0.0
				for i := range 10_000 {
					token, name := keyOf(from.next())
					weight := float64(1 + r.IntN(4))
					s.Add(token, 0, name, weight)
					exact[token] += weight
					total += weight
					if i%2500 == 2499 {
						checkBounds(t, s, exact, total)
						s.Decay(0.7)
						total *= 0.7
						for token := range exact {
							exact[token] *= 0.7
						}
					}
				}
			})
		}
	}
}

func checkBounds(t *testing.T, s *Summary, exact map[ring.Token]float64, total float64) {
	t.Helper()
	const rounding = 1e-6
	if diff := s.Total() - total; max(diff, -diff) > rounding*total {
		t.Fatalf("the stream weighs %v, not %v", s.Total(), total)
	}
	bound, found := total/float64(cap(s.entries)), make(map[ring.Token]bool)
	s.Keys(-1, func(k Key) {
		found[k.Token] = true
		had := exact[k.Token]
		if had > k.Count+rounding*total || had < k.Count-k.Err-rounding*total || k.Err > bound*(1+rounding) {
			t.Fatalf("%s had %v, counted %v with an error of %v (at most %v)", k.Name, had, k.Count, k.Err, bound)
		}
		if token := ring.TokenOf(k.DB, k.Name); token != k.Token || k.Size != len(k.Name) {
			t.Fatalf("the counter of %v is called %s, %d bytes", k.Token, k.Name, k.Size)
		}
	})
	for token, had := range exact {
		if had > bound*(1+rounding) && !found[token] {
			t.Fatalf("a key with %v of %v has no counter", had, total)
		}
	}
	least := s.entries[s.heap[0]].count
	for i := range s.entries {
		if e := &s.entries[i]; e.count < least || s.heap[e.heaped] != uint16(i) || int(s.slots[s.place(e.token)]) != i+1 {
			t.Fatalf("entry %d is not where it should be", i)
		}
	}
}

func TestSummaryShowsTheBeginningOfLongKeys(t *testing.T) {
	s := NewSummary(4)
	long := slices.Repeat([]byte("x"), 1<<20)
	for i := range 10 {
		s.Add(ring.Token(i+1), uint8(i), long[:KeyShown-2+i], 1)
	}
	n := 0
	s.Keys(0, func(k Key) {
		n++
		if want := min(k.Size, KeyShown); len(k.Name) != want || k.Size != KeyShown-2+int(k.DB) || string(k.Name) != string(long[:want]) {
			t.Errorf("%d of %d bytes shown of key %d", len(k.Name), k.Size, k.DB)
		}
	})
	if n != 4 {
		t.Errorf("%d keys in 4 counters", n)
	}
}
