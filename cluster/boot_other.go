//go:build !linux

package cluster

import (
	"crypto/rand"
	"encoding/hex"
)

// bootID names the operating system's current boot. Where that is not known
// every start counts as one, so an unclean end always changes the incarnation.
func bootID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

// fileID names a directory's place on its disk; not known here.
func fileID(string) string { return "" }
