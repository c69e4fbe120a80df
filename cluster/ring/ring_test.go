package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func TestLookups(t *testing.T) {
	for _, q := range []int{1, 2, 256, 16384} {
		r, _ := mustBuild(t, nil, cluster(5, 5), Options{Partitions: q})
		next := Token(0)
		for p := range q {
			lo, hi := r.TokenRange(Partition(p))
			first, last := r.SlotRange(Partition(p))
			if lo != next || lo.Slot() != first || (hi-1).Slot() != last {
				t.Fatalf("q %d: partition %d is %x..%x, slots %d..%d", q, p, uint64(lo), uint64(hi), first, last)
			}
			for _, token := range []Token{lo, lo + (hi-lo)/2, hi - 1} {
				if r.PartitionOf(token) != Partition(p) || r.OfSlot(token.Slot()) != Partition(p) {
					t.Fatalf("q %d: token %x is in %d, not %d", q, uint64(token), r.PartitionOf(token), p)
				}
			}
			next = hi
		}
		if next != TokenEnd {
			t.Fatalf("q %d: tokens end at %x", q, uint64(next))
		}
	}
}

func TestManualExample(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(5, 5), Options{})
	token := TokenOf(0, []byte("{user:7}:cart"))
	if token.Slot() != 2780 || r.PartitionOf(token) != 43 {
		t.Fatalf("the manual's key is in slot %d, partition %d", token.Slot(), r.PartitionOf(token))
	}
}

func TestMembersByID(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(9, 3), Options{})
	for i := range r.Members {
		id := r.Members[i].ID
		if at, found := r.Index(id); !found || at != i || r.Member(id) != &r.Members[i] {
			t.Fatalf("member %v at %d, %v", id, at, found)
		}
		parsed, err := ParseNodeID(id.String())
		if err != nil || parsed != id || len(id.String()) != 16 {
			t.Fatalf("id %v reads as %v, %v", id, parsed, err)
		}
	}
	if r.Member(77) != nil {
		t.Fatal("a member nobody added")
	}
	for _, s := range []string{"", "1", "00000000000000zz", "0000000000000001 ", "+000000000000001"} {
		if id, err := ParseNodeID(s); err == nil {
			t.Errorf("ParseNodeID(%q) = %v", s, id)
		}
	}
}

// naiveFallbacks says it in the words of the design.
func naiveFallbacks(r *Ring, p Partition) []NodeID {
	replicas := r.Replicas(p)
	rack := func(id NodeID) string { m := r.Member(id); return m.DC + "/" + m.Rack }
	var far, near []NodeID
	for i := 1; i < r.Q; i++ {
		for _, id := range r.Replicas(Partition((int(p) + i) % r.Q)) {
			if slices.Contains(replicas, id) || slices.Contains(far, id) || slices.Contains(near, id) {
				continue
			}
			if slices.ContainsFunc(replicas, func(other NodeID) bool { return rack(other) == rack(id) }) {
				near = append(near, id)
			} else {
				far = append(far, id)
			}
		}
	}
	return append(far, near...)
}

func TestFallbacksEqualTheirNaiveTwin(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rng.IntN(12)
		r, _ := mustBuild(t, nil, cluster(n, 1+rng.IntN(n)), Options{Partitions: 1 << rng.IntN(7), N: 1 + rng.IntN(4)})
		for p := range Partition(r.Q) {
			got, want := r.Fallbacks(p, nil), naiveFallbacks(r, p)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: partition %d: %v, want %v", seed, p, got, want)
			}
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	r, _ := mustBuild(t, nil, cluster(9, 3), Options{})
	dst := make([]NodeID, 0, 16)
	key := []byte("key")
	if n := testing.AllocsPerRun(1000, func() {
		p := r.PartitionOf(TokenOf(0, key))
		dst = r.Fallbacks(p, dst[:0])
		if r.Member(r.Replicas(p)[0]) == nil || !r.Holds(p, r.Replicas(p)[1]) {
			t.Fatal("no primary")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestCodec(t *testing.T) {
	members := cluster(7, 3)
	members[2].Weight, members[3].State, members[4].Weight = 2.5, Leaving, 0
	members[5].RPC, members[5].Gossip, members[5].Client = "10.0.0.1:7947", "10.0.0.1:7946", "[::1]:6379"
	r, _ := mustBuild(t, nil, members, Options{ClusterID: 42, ClusterName: "kvstore", Partitions: 64})
	b := r.Encode()
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*got) != fmt.Sprint(*r) || got.Hash() != r.Hash() || !bytes.Equal(got.Encode(), b) {
		t.Fatalf("decoded\n%v, want\n%v", *got, *r)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x10
		if _, err := Decode(damaged); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := Decode(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if other, _ := mustBuild(t, r, members, Options{}); other.Hash() == r.Hash() || other.Epoch != r.Epoch+1 {
		t.Fatal("another epoch has the same hash")
	}
}

// A member whose disk is low keeps in the ring what it weighs otherwise, through any
// encoding, until somebody says what it weighs.
func TestRelieve(t *testing.T) {
	r := founded(t, 4, Options{Partitions: 16})
	plain := len(r.Encode())
	r, plan := mustReplan(t, r, Relieve{ID: 2, Part: 0.5})
	if m := r.Member(2); m.Weight != 0.5 || m.Full != 1 || plan.PerNode[1].After >= 12 {
		t.Errorf("%+v, %+v", m, plan.PerNode[1])
	}
	again, err := Decode(r.Encode())
	if err != nil || again.Hash() != r.Hash() || again.Member(2).Full != 1 || len(r.Encode()) == plain {
		t.Errorf("decoded: %v", err)
	}
	r, _ = mustReplan(t, r, Relieve{ID: 2, Part: 0.25})
	if m := r.Member(2); m.Weight != 0.25 || m.Full != 1 {
		t.Errorf("relieved twice: %+v", m)
	}
	up, _ := mustReplan(t, r, Relieve{ID: 2, Part: 1})
	set, _ := mustReplan(t, r, Weight{ID: 2, W: 0.75})
	if m := up.Member(2); m.Weight != 1 || m.Full != 0 {
		t.Errorf("in full again: %+v", m)
	}
	if m := set.Member(2); m.Weight != 0.75 || m.Full != 0 {
		t.Errorf("weighed by hand: %+v", m)
	}
	for _, part := range []float64{0, -1, 1.5, math.NaN()} {
		if _, _, err := Replan(r, Relieve{ID: 2, Part: part}); err == nil {
			t.Errorf("%v was taken", part)
		}
	}
}

// reseal replaces the checksum, so that the checks behind it are reached.
func reseal(b []byte) []byte {
	body := b[:len(b)-8]
	return binary.BigEndian.AppendUint64(bytes.Clone(body), xxhash.Sum64(body))
}

func FuzzDecode(f *testing.F) {
	r, _ := mustBuild(f, nil, cluster(4, 2), Options{ClusterName: "c", Partitions: 8})
	f.Add(r.Encode())
	f.Add(busyRing(f).Encode())
	f.Add(first(Replan(r, Relieve{ID: 2, Part: 0.5}, Relieve{ID: 4, Part: 0.25})).Encode())
	f.Add([]byte("kvring\x01........"))
	f.Add([]byte("kvring\x02........"))
	if old, err := os.ReadFile("testdata/release1.ring"); err != nil {
		f.Fatal(err)
	} else {
		f.Add(old)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		b = reseal(b)
		r, err := Decode(b)
		if err != nil {
			return
		}
		again := r.Encode()
		if b[len(codecMagic)] > 1 && !bytes.Equal(again, b) {
			t.Fatal("decodes, and encodes as something else")
		}
		if twin, err := Decode(again); err != nil || twin.Hash() != r.Hash() {
			t.Fatalf("encodes as what is none: %v", err)
		}
		checkSteps(t, r)
	})
}

func TestBadInput(t *testing.T) {
	good, _ := mustBuild(t, nil, cluster(3, 3), Options{ClusterID: 1})
	change := func(f func([]Member)) []Member { m := cluster(3, 3); f(m); return m }
	tests := []struct {
		name    string
		prev    *Ring
		members []Member
		o       Options
		want    string
	}{
		{"no members", nil, nil, Options{}, "no member"},
		{"all leave", good, change(func(m []Member) { m[0].State, m[1].State, m[2].Weight = Leaving, Leaving, 0 }), Options{}, "no member"},
		{"twice", nil, change(func(m []Member) { m[1].ID = 1 }), Options{}, "twice"},
		{"no id", nil, change(func(m []Member) { m[1].ID = 0 }), Options{}, "no id"},
		{"weight", nil, change(func(m []Member) { m[1].Weight = -1 }), Options{}, "weight"},
		{"state", nil, change(func(m []Member) { m[1].State = 9 }), Options{}, "state"},
		{"text", nil, change(func(m []Member) { m[1].Rack = strings.Repeat("x", 256) }), Options{}, "over 255"},
		{"name", nil, cluster(3, 3), Options{ClusterName: strings.Repeat("x", 256)}, "over 255"},
		{"odd partitions", nil, cluster(3, 3), Options{Partitions: 100}, "power of two"},
		{"too many partitions", nil, cluster(3, 3), Options{Partitions: 32768}, "power of two"},
		{"n", nil, cluster(3, 3), Options{N: 17}, "replicas"},
		{"other partitions", good, cluster(3, 3), Options{Partitions: 512}, "keeps"},
		{"other cluster", good, cluster(3, 3), Options{ClusterID: 2}, "cluster id"},
		{"too many members", nil, cluster(MaxMembers+1, 3), Options{}, "more than"},
	}
	for _, test := range tests {
		if _, _, err := Build(test.prev, test.members, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	r, _ := mustBuild(b, nil, cluster(9, 3), Options{})
	key := []byte("key:000000123456")
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Replicas(r.PartitionOf(TokenOf(0, key)))
	}
}

func BenchmarkFallbacks(b *testing.B) {
	r, _ := mustBuild(b, nil, cluster(9, 3), Options{})
	dst := make([]NodeID, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		dst = r.Fallbacks(7, dst[:0])
	}
}
