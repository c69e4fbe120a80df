//go:build !linux

package resp

// newEngine serves where there is no epoll.
func newEngine(o Options, events Events) (engine, error) { return newPortable(o, events), nil }
