package memtable

import "golang.org/x/sys/unix"

// preferHugePages asks for one translation of addresses for a whole page of a large table, where the system has any that
// large. It is a wish only.
func preferHugePages(b []byte) {
	if len(b) >= maxPage {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
