package offline

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/db"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func small(fs vfs.FS) storage.Options {
	return storage.Options{FS: fs, MemtableSize: 64 << 10, CacheSize: 1 << 20, BlockSize: 256, TableSize: 8 << 10,
		LevelSize: 32 << 10, LevelRatio: 4, L0Trigger: 2, CompactionWorkers: 1}
}

func nameOf(i int) []byte { return fmt.Appendf(nil, "name%05d", i) }

func keyOf(i int) []byte { return key.AppendUser(nil, uint64(i)<<46, 0, nameOf(i)) }

const keys = 600

// build makes a store with tables in several levels, operations in the log only, older values under newer ones, and
// returns it closed with its content.
func build(t *testing.T) (*vfs.Mem, map[int]string) {
	t.Helper()
	disk, now := vfs.NewMem(), map[int]string{}
	db, err := storage.Open(dir, small(disk))
	must(t, err)
	set := func(i int, v string) {
		_, err := db.Set(keyOf(i), []byte(v))
		must(t, err)
		must(t, db.Commit())
		now[i] = v
	}
	for i := range keys {
		set(i, "old")
	}
	must(t, db.Compact())
	for i := 0; i < keys; i += 3 {
		set(i, "new")
	}
	must(t, db.Flush())
	for i := 0; i < keys; i += 7 {
		set(i, "newest")
	}
	for i := 1; i < keys; i += 30 {
		_, err := db.Delete(keyOf(i))
		must(t, err)
		must(t, db.Commit())
		delete(now, i)
	}
	// Without Close's sync the log would end in what may be torn; with it the records before the last are vouched for.
	must(t, db.Close())
	return disk, now
}

// readAll reads every key: each is right, or answered with damage. It returns how many were damaged.
func readAll(t *testing.T, disk *vfs.Mem, now map[int]string) (damaged int) {
	t.Helper()
	db, err := storage.Open(dir, small(disk))
	must(t, err)
	for i := range keys {
		v, there := now[i]
		got, found, err := db.Get(nil, keyOf(i))
		switch {
		case storage.IsCorrupt(err):
			damaged++
		case err != nil || found != there || string(got) != v:
			t.Fatalf("key %d is %q, %v, %v; want %q, %v", i, got, found, err, v, there)
		}
	}
	must(t, db.Close())
	return damaged
}

// check returns how many files are damaged, and their names.
func check(t *testing.T, disk *vfs.Mem) (Summary, []string) {
	t.Helper()
	var bad []string
	s, err := Check(disk, dir, func(f File) {
		for _, d := range f.Damage {
			bad = append(bad, fmt.Sprintf("%s: %v", f.Name, d))
		}
	})
	must(t, err)
	return s, bad
}

func files(t *testing.T, disk *vfs.Mem, suffix string) (names []string) {
	t.Helper()
	all, err := disk.List(dir)
	must(t, err)
	for _, n := range all {
		if strings.HasSuffix(n, suffix) || strings.HasPrefix(n, suffix) {
			names = append(names, filepath.Join(dir, n))
		}
	}
	return names
}

func damageFile(t *testing.T, disk *vfs.Mem, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := vfs.ReadFile(disk, name)
	must(t, err)
	must(t, vfs.WriteFile(disk, name, change(data)))
}

func TestWholeDirectory(t *testing.T) {
	disk, now := build(t)
	s, bad := check(t, disk)
	if len(bad) > 0 || s.Damaged > 0 || s.Files < 4 || s.Bytes == 0 {
		t.Fatalf("%+v, %v", s, bad)
	}
	before := disk.Clone()
	r, err := Repair(t.Context(), disk, dir, Options{})
	must(t, err)
	if r.Damaged || len(r.Steps) > 0 || len(r.Lost) > 0 {
		t.Errorf("%+v", r)
	}
	if readAll(t, disk, now)+readAll(t, before, now) != 0 {
		t.Error("keys are damaged")
	}
}

// TestDamage damages each kind of file in each way: Check names the file, the engine or Repair makes a store of it that
// opens and never answers wrongly, and Check is content with that.
func TestDamage(t *testing.T) {
	whole, now := build(t)
	flip := func(at float64) func([]byte) []byte {
		return func(b []byte) []byte { b[int(at*float64(len(b)))] ^= 0x10; return b }
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	tables, logs, manifests := files(t, whole, ".sst"), files(t, whole, ".log"), files(t, whole, "MANIFEST-")
	log := logs[0]
	if info, err := whole.Stat(log); err != nil || info.Size < 1000 {
		t.Fatalf("%s: %v, %v", log, info, err)
	}
	for _, c := range []struct {
		name   string
		file   string
		change func([]byte) []byte // nil removes the file
		all    bool                // more than half of the keys may be lost
	}{
		{"table: first block", tables[0], flip(0.0), false},
		{"table: block in the middle", tables[len(tables)/2], flip(0.4), false},
		{"table: index or filter", tables[0], flip(0.93), true},
		{"table: footer", tables[0], flip(0.999), true},
		{"table: cut", tables[0], half, true},
		{"table: missing", tables[0], nil, true},
		{"log: header", log, flip(0), true},
		{"log: first record", log, flip(0.01), true},
		{"log: middle", log, flip(0.5), true},
		{"log: missing", log, nil, true},
		{"manifest: first edit", manifests[0], func(b []byte) []byte { b[50] ^= 1; return b }, true},
		{"manifest: header", manifests[0], func(b []byte) []byte { b[3] ^= 1; return b }, true},
		{"manifest: missing", manifests[0], nil, true},
		{"CURRENT: wrong", filepath.Join(dir, "CURRENT"), func([]byte) []byte { return []byte("MANIFEST-x\n") }, false},
		{"CURRENT: empty", filepath.Join(dir, "CURRENT"), func([]byte) []byte { return nil }, false},
		{"CURRENT: missing", filepath.Join(dir, "CURRENT"), nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := whole.Clone()
			if c.change == nil {
				must(t, disk.Remove(c.file))
			} else {
				damageFile(t, disk, c.file, c.change)
			}
			if s, bad := check(t, disk); s.Damaged == 0 {
				t.Fatalf("nothing was found: %+v, %v", s, bad)
			}
			if db, err := storage.Open(dir, small(disk.Clone())); err == nil {
				must(t, db.Close())
			} else if !storage.IsCorrupt(err) {
				t.Fatalf("opening says %v", err)
			}
			forgotten := disk.Clone()
			r, err := Repair(t.Context(), disk, dir, Options{})
			must(t, err)
			if !r.Damaged || len(r.Steps) == 0 {
				t.Fatalf("%+v", r)
			}
			if s, bad := check(t, disk); s.Damaged != 0 {
				t.Fatalf("after the repair: %v; it did %q", bad, r.Steps)
			}
			damaged := readAll(t, disk, now)
			t.Logf("%d of %d keys wait to be refilled: %s", damaged, keys, strings.Join(r.Steps, "; "))
			if !c.all && damaged > keys/2 {
				t.Errorf("%d of %d keys are lost", damaged, keys)
			}
			if (damaged > 0) != (len(r.Lost) > 0) {
				t.Errorf("%d keys are damaged, lost %v", damaged, r.Lost)
			}
			answersAll(t, forgotten)
		})
	}
}

// answersAll repairs a store for good: every read has an answer then, and the store is marked as repaired until its user
// takes notice.
func answersAll(t *testing.T, disk *vfs.Mem) {
	t.Helper()
	_, err := Repair(t.Context(), disk, dir, Options{Forget: true})
	must(t, err)
	db, err := storage.Open(dir, small(disk))
	must(t, err)
	for i := range keys {
		if v, _, err := db.Get(nil, keyOf(i)); err != nil || len(v) > 0 && !strings.HasPrefix("newest", string(v)) && string(v) != "old" {
			t.Fatalf("key %d: %q, %v", i, v, err)
		}
	}
	if !db.Repaired() || len(db.Lost()) > 0 {
		t.Errorf("repaired %v, lost %v", db.Repaired(), db.Lost())
	}
	must(t, db.AcknowledgeRepair())
	must(t, db.Close())
	db, err = storage.Open(dir, small(disk))
	must(t, err)
	if db.Repaired() {
		t.Error("still marked as repaired")
	}
	must(t, db.Close())
}

// TestTheRestOfALogIsKept: what is whole behind the damage is there afterwards.
func TestTheRestOfALogIsKept(t *testing.T) {
	disk, now := build(t)
	damageFile(t, disk, files(t, disk, ".log")[0], func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
	_, err := Repair(t.Context(), disk, dir, Options{Forget: true})
	must(t, err)
	db, err := storage.Open(dir, small(disk))
	must(t, err)
	defer db.Close()
	wrong := 0
	for i := range keys {
		v, _, err := db.Get(nil, keyOf(i))
		must(t, err)
		if string(v) != now[i] {
			wrong++
		}
	}
	if wrong != 1 {
		t.Errorf("%d keys are not what they were; one record of one operation was damaged", wrong)
	}
}

func TestDirectoriesThatAreNot(t *testing.T) {
	disk, _ := build(t)
	db, err := storage.Open(dir, small(disk))
	must(t, err)
	if _, err := Check(disk, dir, func(File) {}); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("check of an open store: %v", err)
	}
	if _, err := Repair(t.Context(), disk, dir, Options{}); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("repair of an open store: %v", err)
	}
	must(t, db.Close())
	must(t, disk.MkdirAll("/empty"))
	for _, d := range []string{"/empty", "/nowhere", "/db/CURRENT"} {
		if _, err := Check(disk, d, func(File) {}); err == nil {
			t.Errorf("check of %s finds nothing wrong", d)
		}
	}
}

func TestInspect(t *testing.T) {
	disk, _ := build(t)
	names := append(files(t, disk, ".sst"), files(t, disk, ".log")...)
	names = append(append(names, files(t, disk, "MANIFEST-")...), dir, filepath.Join(dir, "CURRENT"))
	for _, name := range names {
		var b strings.Builder
		must(t, Inspect(disk, name, Look{Keys: true, Blocks: true}, &b))
		want := map[string]string{".sst": `db 0 "name0`, ".log": "operations"}[filepath.Ext(name)]
		if want == "" {
			want = "level"
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: no %q in\n%.2000s", name, want, b.String())
		}
	}
	if err := Inspect(disk, dir+"/LOCK", Look{}, &strings.Builder{}); err == nil {
		t.Error("the lock was inspected")
	}
	table := files(t, disk, ".sst")[0]
	damageFile(t, disk, table, func(b []byte) []byte { b[10] ^= 1; return b })
	var b strings.Builder
	must(t, Inspect(disk, table, Look{Keys: true}, &b))
	if !strings.Contains(b.String(), "1 damaged") || !strings.Contains(b.String(), "cannot be read: from slot") {
		t.Errorf("damage is not shown:\n%.2000s", b.String())
	}
}

func TestKey(t *testing.T) {
	for k, want := range map[string]string{
		string(key.AppendUser(nil, 5<<48|7, 3, []byte("na\x00me"))): `slot 5 token 0005000000000007 db 3 "na\x00me"`,
		string(key.AppendSystem(nil, 0x42, []byte{1})):              `system space 42 "\x01"`,
		string(key.AppendToken(nil, 5<<48)) + "\x01":                "slot 5 token 0005000000000000 behind it 01",
		"":         "the first key",
		"\xff\xff": "the last key",
		"abc":      `system space 61 "bc"`,
		"\x01":     "bytes 01",
	} {
		if got := Key([]byte(k)); got != want {
			t.Errorf("%x: %s, want %s", k, got, want)
		}
	}
}
