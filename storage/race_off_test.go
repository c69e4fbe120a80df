//go:build !race

package storage

// every says which of the moments that a test goes through one by one it looks at:
// all of them, or one in some under the race detector, which takes ten times as long.
const every = 1
