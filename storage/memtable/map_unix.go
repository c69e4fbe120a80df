//go:build unix

package memtable

import "golang.org/x/sys/unix"

// mapPage returns zeroed memory outside the Go heap, or nil.
func mapPage(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	preferHugePages(b)
	return b
}

// unmapPage can fail for a wrong address only, which would be ours.
func unmapPage(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("memtable: unmap: " + err.Error())
	}
}
