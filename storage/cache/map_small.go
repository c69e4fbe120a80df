//go:build unix && !linux

package cache

func preferHugePages([]byte) {}
