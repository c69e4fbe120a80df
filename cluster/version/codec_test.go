package version

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func plainObject(value string, deadline int64) *Object {
	d := Dot{0xa1, 0x018bcfe568000007}
	return &Object{
		Context:  Context{Entries: []Dot{d}},
		Siblings: []Sibling{{Dot: d, Kind: String, Value: []byte(value), Deadline: deadline}},
	}
}

func TestEncodings(t *testing.T) {
	tombstone := plainObject("", 0)
	tombstone.Siblings[0].Kind = Tombstone
	counter := plainObject("", 0)
	counter.Siblings[0].Kind, counter.Siblings[0].Delta = Counter, -1
	two := plainObject("v", 0)
	two.Context.Floor = 9
	two.Context.Entries = append([]Dot{{0xa0, 0x10}}, two.Context.Entries...)
	dotted := two.Clone()
	dotted.Context.Dots = []Dot{{0xa0, 0x11}, {0xa2, 0x12}}
	tests := []struct {
		name string
		o    *Object
		want string
	}{
		{"the manual's example", plainObject("v", 0), "11 00000000000000a1 018bcfe568000007 76"},
		{"with a deadline", plainObject("v", 5), "19 00000000000000a1 018bcfe568000007 0000000000000005 76"},
		{"tombstone", tombstone, "13 00000000000000a1 018bcfe568000007"},
		{"counter", counter, "12 00000000000000a1 018bcfe568000007 ffffffffffffffff"},
		{"full", two, "20 0000000000000009 02 00000000000000a0 0000000000000010 00000000000000a1 018bcfe568000007" +
			"01 01 00000000000000a1 018bcfe568000007 01 76"},
		{"dotted", dotted, "30 0000000000000009 02 00000000000000a0 0000000000000010 00000000000000a1 018bcfe568000007" +
			"02 00000000000000a0 0000000000000011 00000000000000a2 0000000000000012 01 01 00000000000000a1 018bcfe568000007 01 76"},
		{"never written", new(Object), "20 0000000000000000 00 00"},
	}
	for _, test := range tests {
		want, err := hex.DecodeString(strings.ReplaceAll(test.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := test.o.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: %x", test.name, got)
		}
		checkDecodes(t, want)
	}
	if overhead := len(plainObject("v", 5).Append(nil)) - 1; overhead > 32 {
		t.Errorf("%d bytes of overhead", overhead)
	}
}

// checkDecodes checks that b is an object, and the only encoding of it.
func checkDecodes(t *testing.T, b []byte) {
	t.Helper()
	var o Object
	if err := o.Decode(b); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	if again := o.Append(nil); !bytes.Equal(again, b) {
		t.Fatalf("%x encodes as %x", b, again)
	}
	if o.Digest() != DigestOf(b) {
		t.Fatalf("%x: the digest of the object is not that of its encoding", b)
	}
	dot, kind, deadline, err := PeekNewest(b)
	newest := o.Newest()
	if newest == nil {
		if err == nil {
			t.Fatalf("%x: a newest sibling of none", b)
		}
		return
	}
	if err != nil || dot != newest.Dot || kind != newest.Kind || deadline != newest.Deadline {
		t.Fatalf("%x: newest %v %v %d, %v", b, dot, kind, deadline, err)
	}
}

func TestDecodeOfCutObjects(t *testing.T) {
	for seed := range uint64(20) {
		for _, o := range crowd(rand.New(rand.NewPCG(seed, 5))) {
			b := o.Append(nil)
			checkDecodes(t, b)
			if b[0] != formFull {
				continue
			}
			for i := range b {
				var cut Object
				if err := cut.Decode(b[:i]); !errors.Is(err, ErrCorrupt) || !cut.Empty() {
					t.Fatalf("cut at %d of %d: %v", i, len(b), err)
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const dot, later = "00000000000000a1 0000000000000007", "00000000000000a2 0000000000000008"
	tests := map[string]string{
		"nothing":                   "",
		"unknown form":              "41" + dot,
		"kind 0":                    "10" + dot,
		"kind 4":                    "14" + dot,
		"no time":                   "11 00000000000000a1 0000000000000000",
		"deadline 0":                "19" + dot + "0000000000000000",
		"negative deadline":         "19" + dot + "ffffffffffffffff",
		"tombstone with a deadline": "1b" + dot + "0000000000000001",
		"tombstone with a value":    "13" + dot + "76",
		"bytes after a counter":     "12" + dot + "0000000000000001 00",
		"kind in a full tag":        "21 0000000000000000 00 00",
		"long varint":               "20 0000000000000000 8000 00",
		"full, could be plain":      "20 0000000000000000 01" + dot + "01 01" + dot + "00",
		"entries out of order":      "20 0000000000000000 02" + later + dot + "00",
		"entry below the floor":     "20 0000000000000007 01" + dot + "00",
		"too many entries":          "20 0000000000000000 ffffffff0f",
		"too many siblings":         "20 0000000000000000 00 ffffffff0f",
		"more entries than bytes":   "20 0000000000000000 05" + dot,
		"sibling not in context":    "20 0000000000000000 01" + dot + "01 01" + later + "00",
		"siblings out of order":     "20 0000000000000009 00 02 01" + later + "00 01" + dot + "00",
		"one sibling twice":         "20 0000000000000009 00 02 01" + dot + "00 01" + dot + "00",
		"value longer than rest":    "20 0000000000000009 00 01 01" + dot + "ffffffffffffffffff01",
		"form bits in a sibling":    "20 0000000000000009 00 01 11" + dot + "00",
		"kind in a dotted tag":      "31 0000000000000000 00 01" + dot + "00",
		"dotted without dots":       "30 0000000000000000 00 00 00",
		"dots out of order":         "30 0000000000000000 00 02" + later + dot + "00",
		"one dot twice":             "30 0000000000000000 00 02" + dot + dot + "00",
		"dot within the vector":     "30 0000000000000000 01" + dot + "01" + dot + "00",
		"dot below the floor":       "30 0000000000000007 00 01" + dot + "00",
		"too many dots":             "30 0000000000000000 00 ffffffff0f",
		"sibling by a dot alone":    "30 0000000000000000 00 01" + dot + "01 01" + dot + "00",
		"bytes at the end":          "20 0000000000000009 00 01 01" + dot + "00 00",
	}
	for name, text := range tests {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		o := plainObject("left over", 0)
		if err := o.Decode(b); !errors.Is(err, ErrCorrupt) || !o.Empty() {
			t.Errorf("%s: %v, object %v", name, err, o)
		}
	}
}

func FuzzObject(f *testing.F) {
	f.Add(plainObject("value", 5).Append(nil))
	for _, o := range crowd(rand.New(rand.NewPCG(1, 1))) {
		f.Add(o.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = PeekNewest(b)
		var o Object
		if o.Decode(b) != nil {
			return
		}
		checkDecodes(t, b)
		other := plainObject("other", 0)
		if encode(merged(&o, other)) != encode(merged(other, &o)) || encode(merged(&o, &o)) != encode(&o) {
			t.Fatal("breaks the laws of merging")
		}
		o.Value(1, nil)
	})
}

// TestHotPathsAllocateNothing holds for the object almost every key is.
func TestHotPathsAllocateNothing(t *testing.T) {
	b := plainObject("0123456789abcdef", 0).Append(nil)
	stored, dst, other := new(Object), new(Object), plainObject("x", 0)
	buf := make([]byte, 0, 256)
	s := Sibling{Kind: String, Value: []byte("new")}
	paths := map[string]func(){
		"Decode":     func() { _ = stored.Decode(b) },
		"Append":     func() { buf = stored.Append(buf[:0]) },
		"Update":     func() { _ = stored.Decode(b); _, _ = stored.Update(Dot{0xa1, 1 << 60}, nil, s) },
		"Merge":      func() { Merge(dst, stored, other) },
		"Value":      func() { stored.Value(0, buf) },
		"Digest":     func() { stored.Digest() },
		"PeekNewest": func() { _, _, _, _ = PeekNewest(b) },
		"Covers":     func() { stored.Covers(other) },
	}
	for name, path := range paths {
		_ = stored.Decode(b)
		path()
		if n := testing.AllocsPerRun(100, path); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkOneSibling(b *testing.B) {
	encoded := plainObject(strings.Repeat("v", 64), 0).Append(nil)
	o, dst, other := new(Object), new(Object), plainObject(strings.Repeat("v", 64), 0)
	other.Siblings[0].Time++
	other.Context.Entries[0].Time++
	buf := make([]byte, 0, 256)
	_ = o.Decode(encoded)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("Decode", func() { _ = o.Decode(encoded) })
	run("Append", func() { buf = o.Append(buf[:0]) })
	run("Merge", func() { Merge(dst, o, other) })
	run("MergeEqual", func() { Merge(dst, o, o) })
	run("PeekNewest", func() { _, _, _, _ = PeekNewest(encoded) })
	run("Digest", func() { o.Digest() })
	run("Value", func() { o.Value(0, nil) })
	at := Dot{0xa1, 1 << 60}
	s := Sibling{Kind: String, Value: []byte("v")}
	run("Update", func() { at.Time++; _, _ = o.Update(at, nil, s) })
}
