package prefetch

import (
	"testing"
	"unsafe"
)

func TestLineLeavesMemoryAsItIs(t *testing.T) {
	b := make([]byte, 4096)
	for i := range b {
		b[i] = byte(i)
	}
	for i := range b {
		Line(unsafe.Pointer(&b[i]))
	}
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d became %d", i, b[i])
		}
	}
	Line(nil)
}

func TestLineAllocatesNothing(t *testing.T) {
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() { Line(unsafe.Pointer(unsafe.SliceData(b))) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
