package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// TestContract holds both file systems, and a Faulty one that never fails, to the same behaviour.
func TestContract(t *testing.T) {
	mem := NewMem()
	faulty := &Faulty{FS: OS{}, Inject: func(Op, string) error { return nil }}
	for name, fsys := range map[string]FS{"os": OS{}, "mem": mem, "view": mem.View(), "faulty": faulty} {
		t.Run(name, func(t *testing.T) { testContract(t, fsys, filepath.Join(t.TempDir(), "a", "b")) })
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func testContract(t *testing.T, fsys FS, dir string) {
	name := func(base string) string { return filepath.Join(dir, base) }
	if _, err := fsys.Create(name("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create without its directory: %v", err)
	}
	must(t, fsys.MkdirAll(dir), fsys.MkdirAll(dir))
	f, err := fsys.Create(name("x"))
	must(t, err)
	if n, err := f.Write([]byte("hello")); n != 5 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("J!"), 8); n != 2 || err != nil {
		t.Errorf("write at: %d, %v", n, err)
	}
	must(t, f.Preallocate(4096), f.Sync())
	if size, err := f.Size(); size != 10 || err != nil {
		t.Errorf("size: %d, %v", size, err)
	}
	buf := make([]byte, 10)
	if n, err := f.ReadAt(buf, 0); n != 10 || err != nil || string(buf) != "hello\x00\x00\x00J!" {
		t.Errorf("read at: %d, %v, %q", n, err, buf)
	}
	if n, err := f.ReadAt(buf, 6); n != 4 || err != io.EOF {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	must(t, f.Truncate(4), f.Close(), fsys.SyncDir(dir))
	if data, err := ReadFile(fsys, name("x")); err != nil || string(data) != "hell" {
		t.Errorf("read file: %q, %v", data, err)
	}
	f, err = fsys.OpenAppend(name("x"))
	must(t, err)
	_, err = f.Write([]byte("o"))
	must(t, err, f.Close())
	must(t, WriteFile(fsys, name("y"), []byte("one")), WriteFile(fsys, name("y"), []byte("two")))
	must(t, fsys.Link(name("y"), name("z")), fsys.Rename(name("x"), name("w")))
	if err := fsys.Link(name("y"), name("z")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("link to a taken name: %v", err)
	}
	held, err := fsys.Open(name("y"))
	must(t, err, fsys.Remove(name("y")))
	if data, err := io.ReadAll(held); err != nil || string(data) != "two" {
		t.Errorf("a removed file reads %q, %v", data, err)
	}
	must(t, held.Close())
	if names, err := fsys.List(dir); err != nil || !slices.Equal(names, []string{"w", "z"}) {
		t.Errorf("list: %q, %v", names, err)
	}
	if info, err := fsys.Stat(name("z")); err != nil || info != (Info{Size: 3}) {
		t.Errorf("stat: %v, %v", info, err)
	}
	if info, err := fsys.Stat(dir); err != nil || !info.Dir {
		t.Errorf("stat of a directory: %v, %v", info, err)
	}
	if ok, err := Exists(fsys, name("y")); ok || err != nil {
		t.Errorf("a removed file exists: %v, %v", ok, err)
	}
	for _, err := range []error{fsys.Remove(name("y")), fsys.Rename(name("y"), name("q")), fsys.Link(name("y"), name("q"))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an absent file: %v", err)
		}
	}
	if err := fsys.Remove(dir); err == nil {
		t.Error("a directory with files was removed")
	}
	lock, err := fsys.Lock(name("LOCK"))
	must(t, err)
	if _, err := fsys.Lock(name("LOCK")); err == nil {
		t.Error("locked twice")
	} else if held, ok := errors.AsType[*LockedError](err); !ok || held.PID == 0 {
		t.Errorf("a held lock: %v", err)
	}
	must(t, lock.Close())
	lock, err = fsys.Lock(name("LOCK"))
	must(t, err, lock.Close())
	if free, err := fsys.Free(dir); free <= 0 || err != nil {
		t.Errorf("free: %d, %v", free, err)
	}
	must(t, LinkOrCopy(t.Context(), fsys, name("z"), name("zz")))
	if data, err := ReadFile(fsys, name("zz")); err != nil || string(data) != "two" {
		t.Errorf("linked or copied: %q, %v", data, err)
	}
}

func TestCopyWhereLinksAreNot(t *testing.T) {
	fsys := &Faulty{FS: NewMem(), Inject: func(op Op, _ string) error {
		if op == OpLink {
			return errors.ErrUnsupported
		}
		return nil
	}}
	must(t, WriteFile(fsys, "/a", []byte("data")), LinkOrCopy(t.Context(), fsys, "/a", "/b"))
	if data, err := ReadFile(fsys, "/b"); err != nil || string(data) != "data" {
		t.Errorf("copied: %q, %v", data, err)
	}
}

// A copy ends in the middle of a file.
func TestACopyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fsys := &Faulty{FS: NewMem(), Inject: func(op Op, name string) error {
		switch {
		case op == OpLink:
			return errors.ErrUnsupported
		case op == OpWrite && name == "/b":
			cancel()
		}
		return nil
	}}
	must(t, WriteFile(fsys, "/a", make([]byte, 3*copyStep)))
	if err := LinkOrCopy(ctx, fsys, "/a", "/b"); !errors.Is(err, context.Canceled) {
		t.Errorf("copied: %v", err)
	}
	info, err := fsys.Stat("/b")
	if must(t, err); info.Size > copyStep {
		t.Errorf("%d bytes were copied", info.Size)
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(100)
	f, err := m.Create("/a")
	must(t, err)
	if n, err := f.Write(make([]byte, 150)); n != 100 || !IsFull(err) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := f.WriteAt([]byte("over"), 50); err != nil {
		t.Errorf("overwriting on a full disk: %v", err)
	}
	if err := f.Preallocate(101); !IsFull(err) {
		t.Errorf("preallocate: %v", err)
	}
	must(t, f.Truncate(40))
	if free, _ := m.Free("/"); free != 60 {
		t.Errorf("%d bytes are free", free)
	}
	must(t, f.Close(), m.Remove("/a"))
	if m.Used() != 0 {
		t.Errorf("%d bytes are used by nothing", m.Used())
	}
}

func TestKill(t *testing.T) {
	m := NewMem()
	v := m.View()
	f, err := v.Create("/a")
	must(t, err)
	_, err = f.Write([]byte("kept"))
	must(t, err)
	_, err = v.Lock("/LOCK")
	must(t, err)
	m.Kill()
	if _, err := f.Write([]byte("more")); !errors.Is(err, ErrDead) {
		t.Errorf("a dead handle writes: %v", err)
	}
	if err := v.Remove("/a"); !errors.Is(err, ErrDead) {
		t.Errorf("a dead view removes: %v", err)
	}
	if data, err := ReadFile(m.View(), "/a"); err != nil || string(data) != "kept" {
		t.Errorf("after the kill: %q, %v", data, err)
	}
	_, err = m.View().Lock("/LOCK")
	must(t, err)
}

// TestCrash writes, syncs and renames at random and compares what a power loss leaves with what was durable.
func TestCrash(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 9))
		m := NewMem()
		durable := map[string][]byte{} // content at the last Sync, of names made durable and not touched since
		files := map[string]File{}
		for i := range 60 {
			name := fmt.Sprintf("/f%d", r.IntN(5))
			f := files[name]
			switch n := r.IntN(10); {
			case f == nil:
				var err error
				f, err = m.Create(name)
				must(t, err)
				files[name] = f
				delete(durable, name)
			case n < 6:
				_, err := f.Write(slices.Repeat([]byte{byte(i + 1)}, r.IntN(6000)))
				must(t, err)
			case n < 9:
				must(t, f.Sync(), m.SyncDir("/"))
				data, err := ReadFile(m, name)
				must(t, err)
				durable[name] = data
			default:
				must(t, m.Remove(name))
				delete(files, name)
				delete(durable, name)
			}
		}
		before := map[string][]byte{}
		for name := range files {
			data, err := ReadFile(m, name)
			must(t, err)
			before[name] = data
		}
		m.Crash(r)
		for name, want := range durable {
			got, err := ReadFile(m, name)
			must(t, err)
			if len(got) < len(want) || string(got[:len(want)]) != string(want) {
				t.Fatalf("seed %d: %s lost synced bytes", seed, name)
			}
			for i := len(want); i < len(got); i++ {
				if got[i] != 0 && got[i] != before[name][i] {
					t.Fatalf("seed %d: %s has at %d what was never written", seed, name, i)
				}
			}
		}
	}
}

func TestFlip(t *testing.T) {
	m := NewMem()
	if err := WriteFile(m, "/f", []byte("aaa")); err != nil {
		t.Fatal(err)
	}
	if err := m.Flip("/f", 1, 1); err != nil {
		t.Fatal(err)
	}
	m.Crash(rand.New(rand.NewPCG(1, 1)))
	if b, err := ReadFile(m, "/f"); string(b) != "aca" || err != nil {
		t.Errorf("%q, %v after a flip", b, err)
	}
	if m.Flip("/f", 3, 0) == nil || m.Flip("/g", 0, 0) == nil {
		t.Error("a bit was flipped where there is none")
	}
}

func TestStartWriteback(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for _, fsys := range []FS{OS{}, NewMem()} {
		if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		f, err := fsys.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("content")); err != nil {
			t.Fatal(err)
		}
		StartWriteback(f, 0, 7)
		StartWriteback(f, 5, 1<<20)
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(fsys, name); err != nil || string(got) != "content" {
			t.Errorf("%T: %q, %v", fsys, got, err)
		}
	}
}
