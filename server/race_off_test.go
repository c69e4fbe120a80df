//go:build !race

package server

// raceEnabled says that the race detector watches. It allocates, and makes pools
// drop what they hold at random.
const raceEnabled = false
