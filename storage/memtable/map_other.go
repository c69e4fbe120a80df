//go:build !unix

package memtable

func mapPage(int) []byte { return nil }

func unmapPage([]byte) {}
