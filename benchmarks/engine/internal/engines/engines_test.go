package engines

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestContract holds every adapter to what the interface says.
func TestContract(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			t.Run("operations", func(t *testing.T) { testOperations(t, name) })
			t.Run("many writers", func(t *testing.T) { testWriters(t, name) })
			t.Run("checkpoint", func(t *testing.T) { testCheckpoint(t, name) })
		})
	}
}

func open(t *testing.T, name, dir string, durable bool) Engine {
	t.Helper()
	e, err := Open(name, Options{Dir: dir, Durable: durable, Memtable: 16 << 20, Cache: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "key%05d", i) }

// expect checks that the engine holds exactly the pairs of want, by Get and by Scan.
func expect(t *testing.T, e Engine, want map[int]string) {
	t.Helper()
	for i := range 300 {
		value, found, err := e.Get([]byte("<"), key(i))
		must(t, err)
		w, there := want[i]
		if found != there || string(value) != "<"+w {
			t.Fatalf("Get(%s) = %q, %v, want %q, %v", key(i), value, found, "<"+w, there)
		}
	}
	var keys [][]byte
	must(t, e.Scan(key(0), key(1000), func(k, v []byte) {
		keys = append(keys, bytes.Clone(k))
		var i int
		if _, err := fmt.Sscanf(string(k), "key%05d", &i); err != nil || want[i] != string(v) {
			t.Errorf("Scan shows %q = %q", k, v)
		}
	}))
	if len(keys) != len(want) || !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Fatalf("Scan shows %d keys, want %d, in order", len(keys), len(want))
	}
}

func testOperations(t *testing.T, name string) {
	dir := filepath.Join(t.TempDir(), "data")
	e := open(t, name, dir, true)
	want := map[int]string{}
	expect(t, e, want)

	// What is handed over is copied: one buffer serves all.
	var k, v []byte
	must(t, e.SetMany(200, func(i int) ([]byte, []byte) {
		k, v = append(k[:0], key(i)...), fmt.Appendf(v[:0], "many %d", i)
		want[i] = string(v)
		return k, v
	}))
	for i := 150; i < 250; i++ {
		k, v = append(k[:0], key(i)...), fmt.Appendf(v[:0], "set %d", i)
		must(t, e.Set(k, v))
		want[i] = string(v)
	}
	for i := 100; i < 300; i += 3 {
		must(t, e.Delete(key(i)))
		delete(want, i)
	}
	expect(t, e, want)

	n := 0
	must(t, e.Scan(key(10), key(20), func(k, _ []byte) {
		if !bytes.Equal(k, key(10+n)) {
			t.Errorf("key %d of the scan is %q", n, k)
		}
		n++
	}))
	if n != 10 {
		t.Errorf("a scan of ten keys shows %d", n)
	}

	must(t, e.Close())
	e = open(t, name, dir, false)
	expect(t, e, want)
	must(t, e.Close())
}

func testWriters(t *testing.T, name string) {
	e := open(t, name, filepath.Join(t.TempDir(), "data"), false)
	want := map[int]string{}
	for i := range 256 {
		want[i] = "v"
	}
	var group sync.WaitGroup
	for w := range 16 {
		group.Go(func() {
			for i := w; i < 256; i += 16 {
				if err := e.Set(key(i), []byte("v")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	expect(t, e, want)
	must(t, e.Close())
}

func testCheckpoint(t *testing.T, name string) {
	dir := t.TempDir()
	e := open(t, name, filepath.Join(dir, "data"), false)
	must(t, e.Set(key(1), []byte("before")))
	err := e.Checkpoint(filepath.Join(dir, "copy"))
	if Unsupported(err) {
		must(t, e.Close())
		return
	}
	must(t, err)
	must(t, e.Set(key(1), []byte("after")))
	must(t, e.Close())
	e = open(t, name, filepath.Join(dir, "copy"), false)
	expect(t, e, map[int]string{1: "before"})
	must(t, e.Close())
}
