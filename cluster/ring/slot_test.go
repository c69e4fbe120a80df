package ring

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestSlotOf(t *testing.T) {
	tests := []struct{ key, hashed string }{
		{"123456789", "123456789"},
		{"", ""},
		{"{user1000}.following", "user1000"},
		{"{user1000}.followers", "user1000"},
		{"foo{}{bar}", "foo{}{bar}"},
		{"foo{{bar}}zap", "{bar"},
		{"foo{bar}{zap}", "bar"},
		{"foo{bar", "foo{bar"},
		{"foo}bar{", "foo}bar{"},
		{"}{x}", "x"},
		{"{\x00}", "\x00"},
	}
	for _, test := range tests {
		if got, want := SlotOf([]byte(test.key)), Slot(naiveCRC(test.hashed)%Slots); got != want {
			t.Errorf("SlotOf(%q) = %d, want %d", test.key, got, want)
		}
	}
	// Known answers: the check value of CRC-16/XMODEM, and what CLUSTER KEYSLOT says.
	for key, want := range map[string]Slot{"123456789": 0x31c3 % Slots, "foo": 12182, "bar": 5061, "hello": 866, "": 0} {
		if got := SlotOf([]byte(key)); got != want {
			t.Errorf("SlotOf(%q) = %d, want %d", key, got, want)
		}
	}
}

// naiveCRC is CRC-16/XMODEM bit by bit.
func naiveCRC(s string) (crc uint16) {
	for i := range len(s) {
		for bit := 7; bit >= 0; bit-- {
			in := uint16(s[i]>>bit) & 1
			top := crc >> 15
			crc <<= 1
			if in != top {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

func TestTokenOf(t *testing.T) {
	seen := map[Token]string{}
	for i := range 20000 {
		key := fmt.Appendf(nil, "key:%d", i)
		for db := range uint8(2) {
			token := TokenOf(db, key)
			if token.Slot() != SlotOf(key) || token >= TokenEnd {
				t.Fatalf("token %x of %s", uint64(token), key)
			}
			name := fmt.Sprint(db, string(key))
			if other, found := seen[token]; found {
				t.Fatalf("%s and %s share token %x", name, other, uint64(token))
			}
			seen[token] = name
		}
	}
	if a, b := TokenOf(0, []byte("{a}1")), TokenOf(0, []byte("{a}2")); a == b || a.Slot() != b.Slot() {
		t.Fatalf("one tag: %x, %x", uint64(a), uint64(b))
	}
}

func TestTokensFillTheirRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var buckets [16]int
	const keys = 32000
	for range keys {
		key := fmt.Appendf(nil, "{tag}%d", rng.Uint64())
		buckets[TokenOf(3, key)<<16>>60]++
	}
	for i, n := range buckets {
		if n < keys/16*9/10 || n > keys/16*11/10 {
			t.Errorf("bucket %d of a slot has %d of %d keys", i, n, keys)
		}
	}
}

func TestTokenOfAllocatesNothing(t *testing.T) {
	key := []byte("{user:7}:cart")
	if n := testing.AllocsPerRun(1000, func() { _ = TokenOf(1, key) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkTokenOf(b *testing.B) {
	key := []byte("key:000000123456")
	b.ReportAllocs()
	for b.Loop() {
		_ = TokenOf(0, key)
	}
}
