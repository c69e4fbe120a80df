// Package coordinator runs requests: it brings one operation on one key to the
// key's soft primary and replicas, counts their answers and completes the
// request.
package coordinator

// op is a request under way.
type op struct{}
