//go:build unix

package cache

import "golang.org/x/sys/unix"

func mapMemory(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		preferHugePages(b)
	}
	return b, err
}

// unmapMemory can fail for a wrong address only, which would be ours.
func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("cache: unmap: " + err.Error())
	}
}
