package vfs

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadResident reads what was just written, so what the page cache has, wherever its file system can tell.
func TestReadResident(t *testing.T) {
	f, err := openOS(filepath.Join(t.TempDir(), "x"), unix.O_RDWR|unix.O_CREAT)
	must(t, err)
	defer f.Close()
	_, err = f.Write([]byte("hello, world"))
	must(t, err, f.Sync())
	p := make([]byte, 5)
	_, err = unix.Preadv2(int(f.Fd()), [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT)
	can := !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS)
	if got := ReadResident(f, p, 7); got != can || got && string(p) != "world" {
		t.Errorf("%v, %q; the file system can: %v", got, p, can)
	}
	if ReadResident(f, p, 9) {
		t.Error("read past the end of the file")
	}
	if n := testing.AllocsPerRun(100, func() { ReadResident(f, p, 7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	mem, err := NewMem().Create("x")
	must(t, err)
	if ReadResident(mem, nil, 0) {
		t.Error("a file system without the call says that it has something")
	}
	must(t, f.Close())
	if ReadResident(f, p, 0) {
		t.Error("read a closed file")
	}
}
