//go:build amd64 || arm64

package prefetch

import "unsafe"

// Line asks for the cache line at p.
//
//go:noescape
func Line(p unsafe.Pointer)

// Behind is Line for the address n bytes behind p, be it outside of what p points into: no pointer is made of it.
//
//go:noescape
func Behind(p unsafe.Pointer, n int)
