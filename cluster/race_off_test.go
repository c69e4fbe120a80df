//go:build !race

package cluster_test

// raceEnabled says that the race detector watches. It allocates, and makes pools
// drop what they hold at random.
const raceEnabled = false
