//go:build race

package storage

const every = 6
