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
		Behind(unsafe.Pointer(&b[0]), 64*i)
	}
	Behind(unsafe.Pointer(&b[0]), -1<<40)
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d became %d", i, b[i])
		}
	}
	Line(nil)
}

func TestLineAllocatesNothing(t *testing.T) {
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() { Line(unsafe.Pointer(unsafe.SliceData(b))); Behind(unsafe.Pointer(unsafe.SliceData(b)), 64) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
