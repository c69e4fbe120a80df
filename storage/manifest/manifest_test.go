package manifest

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"testing"

	"kvstore/storage/corrupt"
	"kvstore/storage/sum"
	"kvstore/storage/vfs"
)

func sample() *Edit {
	sums := &sum.Leaves{}
	sums.Xor(70_000, 5)
	return &Edit{
		Sums: sums, Exact: sum.Set{{Lo: 0, Hi: 3}, {Lo: 9, Hi: sum.Count}}, Inexact: sum.Set{{Lo: 4, Hi: 5}},
		Next: 9, Log: 3, Flushed: 500,
		Added: []Table{{
			Number: 8, Level: 2, Size: 4096, MinSeq: 1, MaxSeq: 400, Entries: 100, Deletes: 3, Smallest: []byte("a"), Largest: []byte("m"),
		}, {Number: 7, Smallest: []byte{}, Largest: []byte{0xff}}},
		Removed: []uint64{1, 2}, Ranges: []Range{{Seq: 77, Lo: []byte("b"), Hi: []byte("c")}}, Unranged: []uint64{5},
		Marks: []Mark{{ID: 10, Seq: 90, Lo: []byte("a"), Hi: []byte("b")}}, Unmarked: []uint64{4}, Repair: Mended,
	}
}

func TestEditReadsBack(t *testing.T) {
	for _, e := range []*Edit{{}, sample()} {
		got, err := Decode(e.Append(nil))
		if err != nil || !reflect.DeepEqual(&got, e) {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
	if got := (&Edit{Log: 3, Removed: []uint64{7}}).Append(nil); !bytes.Equal(got, []byte{2, 3, 5, 7}) {
		t.Errorf("the edit of the package comment is %x", got)
	}
}

func TestStateRefusesWhatCannotBe(t *testing.T) {
	s := NewState()
	if err := s.Apply(&Edit{Removed: []uint64{1}}); err == nil {
		t.Error("an absent table is removed")
	}
	s = NewState()
	add := &Edit{Added: []Table{{Number: 1}}}
	if err := s.Apply(add); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(add); err == nil {
		t.Error("a table is added twice")
	}
	if err := s.Apply(&Edit{Removed: []uint64{1}, Added: []Table{{Number: 1, Level: 3}}}); err != nil {
		t.Errorf("a table cannot be moved: %v", err)
	}
}

// grow appends n edits, each adding a table and all but one removing one.
func grow(t *testing.T, l *Log, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		e := &Edit{Next: uint64(i + 1), Added: []Table{{Number: uint64(i), Size: int64(i), Smallest: []byte("a"), Largest: []byte("b")}}}
		if i > from {
			e.Removed = []uint64{uint64(i - 1)}
		}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, disk *vfs.Mem, n int) {
	t.Helper()
	if err := disk.MkdirAll("/db"); err != nil {
		t.Fatal(err)
	}
	l, err := Create(disk, "/db", 1, NewState())
	if err != nil {
		t.Fatal(err)
	}
	grow(t, l, 10, n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	disk := vfs.NewMem()
	if err := disk.MkdirAll("/db"); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(disk, "/db"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an empty directory: %v", err)
	}
	create(t, disk, 20)
	s, err := Load(disk, "/db")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Tables) != 1 || s.Tables[29].Size != 29 || s.Next != 30 {
		t.Fatalf("the state is %+v", s)
	}
	l, err := Create(disk, "/db", 2, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Load(disk, "/db")
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("the renewed manifest has %+v, want %+v, %v", again, s, err)
	}
	if !InForce(disk, "/db", 2) || InForce(disk, "/db", 1) {
		t.Error("CURRENT does not name the renewed manifest")
	}
}

func TestDamage(t *testing.T) {
	const name = "/db/MANIFEST-000001"
	for what, c := range map[string]struct {
		change  func(d []byte) []byte
		refused bool
	}{
		"last edit cut":         {func(d []byte) []byte { return d[:len(d)-3] }, false},
		"last edit wrong":       {func(d []byte) []byte { d[len(d)-1] ^= 1; return d }, false},
		"an edit in the middle": {func(d []byte) []byte { d[len(d)/2] ^= 1; return d }, true},
		"first edit":            {func(d []byte) []byte { d[40] ^= 1; return d }, true},
		"only a header":         {func(d []byte) []byte { return d[:32] }, true},
		"nothing":               {func(d []byte) []byte { return nil }, true},
		"a hole":                {func(d []byte) []byte { clear(d[100:4096]); return d }, true},
	} {
		disk := vfs.NewMem()
		create(t, disk, 200)
		data, err := vfs.ReadFile(disk, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(disk, name, c.change(data)); err != nil {
			t.Fatal(err)
		}
		s, err := Load(disk, "/db")
		if c.refused != corrupt.Is(err) || !c.refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !c.refused && len(s.Tables) != 1 {
			t.Errorf("%s: %d tables", what, len(s.Tables))
		}
	}
	for _, current := range []string{"", "MANIFEST-000009\n", "../MANIFEST-1", "nonsense"} {
		disk := vfs.NewMem()
		create(t, disk, 1)
		if err := vfs.WriteFile(disk, "/db/CURRENT", []byte(current)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(disk, "/db"); !corrupt.Is(err) {
			t.Errorf("CURRENT %q: %v", current, err)
		}
	}
}

// TestPowerLoss cuts the power after each sync: every edit whose Append returned is there.
func TestPowerLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	disk := vfs.NewMem()
	appended := 0
	faulty := &vfs.Faulty{FS: disk, Inject: func(op vfs.Op, _ string) error {
		if op != vfs.OpSync && op != vfs.OpSyncDir && op != vfs.OpRename {
			return nil
		}
		s, err := Load(disk.CrashClone(r), "/db")
		if appended == 0 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			t.Fatalf("after %d edits: %v", appended, err)
		}
		if _, ok := s.Tables[uint64(9+appended)]; !ok && appended > 0 {
			if _, newer := s.Tables[uint64(10+appended)]; !newer {
				t.Fatalf("after %d edits the tables are %v", appended, s.Tables)
			}
		}
		return nil
	}}
	if err := faulty.MkdirAll("/db"); err != nil {
		t.Fatal(err)
	}
	l, err := Create(faulty, "/db", 1, NewState())
	if err != nil {
		t.Fatal(err)
	}
	state := NewState()
	for ; appended < 60; appended++ {
		e := &Edit{Next: uint64(11 + appended), Added: []Table{{Number: uint64(10 + appended)}}}
		if appended > 0 {
			e.Removed = []uint64{uint64(9 + appended)}
		}
		if err := errors.Join(l.Append(e), state.Apply(e)); err != nil {
			t.Fatal(err)
		}
		if appended%20 == 19 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = Create(faulty, "/db", uint64(1000+appended), state); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzDecode decodes arbitrary bytes; what decodes reads back the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(sample().Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(e.Append(nil))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
	})
}

// FuzzLoad reads any bytes for CURRENT and for the manifest it may name. They are refused, or a state that can be written
// and read again.
func FuzzLoad(f *testing.F) {
	disk := vfs.NewMem()
	if err := disk.MkdirAll("/db"); err != nil {
		f.Fatal(err)
	}
	state := NewState()
	e := Edit{Log: 3, Next: 9, Flushed: 5, Added: []Table{{Number: 4, Level: 1, Size: 10, Smallest: []byte("a"), Largest: []byte("b")}}}
	if err := state.Apply(&e); err != nil {
		f.Fatal(err)
	}
	l, err := Create(disk, "/db", 7, state)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Append(&Edit{Next: 10, Removed: []uint64{4}}); err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := vfs.ReadFile(disk, "/db/"+Name(7))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(Name(7)+"\n"), data)
	f.Add([]byte(Name(7)), data[:len(data)-1])
	f.Add([]byte("MANIFEST-../../etc"), []byte{})
	f.Add([]byte{}, data[:40])
	f.Fuzz(func(t *testing.T, current, data []byte) {
		disk := vfs.NewMem()
		if err := disk.MkdirAll("/db"); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{CurrentName: current, Name(7): data} {
			if err := vfs.WriteFile(disk, "/db/"+name, content); err != nil {
				t.Fatal(err)
			}
		}
		state, err := Load(disk, "/db")
		if err != nil {
			return
		}
		l, err := Create(disk, "/db", 8, state)
		if err != nil {
			t.Fatalf("the state cannot be written: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(disk, "/db"); err != nil {
			t.Fatalf("the state cannot be read again: %v", err)
		}
	})
}
