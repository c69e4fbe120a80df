package rpc

import "fmt"

// Newest and Oldest are the versions of the protocol that this release speaks: the kinds of messages and their layouts. A
// release speaks its own version and that of the release before, so that a cluster can be upgraded node by node; what only
// the newer one knows is not sent to a peer that Transport.Speaks says less of. The handshake's own layout is of no
// version: it only grows at the ends of its bodies, and both proofs cover what a side does not understand.
const (
	Newest = 4
	Oldest = 4
)

// Versions is a range of versions, both ends included.
type Versions struct {
	Oldest, Newest uint16
}

// Common returns the newest version of both ranges, false when they have none in common.
func (v Versions) Common(o Versions) (version uint16, ok bool) {
	version = min(v.Newest, o.Newest)
	return version, version >= max(v.Oldest, o.Oldest)
}

// String returns "4", or "4 to 5".
func (v Versions) String() string {
	if v.Oldest == v.Newest {
		return fmt.Sprint(v.Newest)
	}
	return fmt.Sprintf("%d to %d", v.Oldest, v.Newest)
}
