package cache

import "golang.org/x/sys/unix"

// hugeSize is the size from which memory is asked for in huge pages. A read of a cached block touches half a dozen places
// far apart, each with an address to translate, which huge pages make a fifth faster. Each shard takes memory two megabytes
// at once then, which a small cache had better not.
const hugeSize = 64 << 20

// preferHugePages is a wish only: without it the memory works as well, a little slower.
func preferHugePages(b []byte) {
	if len(b) >= hugeSize {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
