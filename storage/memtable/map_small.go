//go:build unix && !linux

package memtable

func preferHugePages([]byte) {}
