package cli

import (
	"cmp"
	"time"

	"kvstore/cluster"
	"kvstore/cluster/ring"
)

// sizeOf returns who is likely to be the source of a transfer, zero if none of its partition's
// replicas has answered, and how much that is.
func sizeOf(r *ring.Ring, t ring.Transfer, reports map[ring.NodeID]*cluster.Report) (source ring.NodeID, keys, bytes int64) {
	from := []ring.NodeID{t.From}
	if reports[t.From] == nil {
		from = r.Replicas(t.Partition)
	}
	for _, id := range from {
		report := reports[id]
		if report == nil || int(t.Partition) >= len(report.Holds) {
			continue
		}
		if held := report.Holds[t.Partition]; source == 0 || held > keys {
			source, keys, bytes = id, held, int64(float64(held)*report.KeyBytes)
		}
	}
	return source, keys, bytes
}

// pace is how fast a node takes partitions.
type pace struct {
	rate     int64 // bytes a second
	measured bool
	parallel int
}

// defaultMoves is transfer.moves of a node that does not say.
const defaultMoves = 16

// leastMove is what a move takes, whatever it moves: three changes of the ring for many at a time, and who waits for
// whom meanwhile.
const leastMove = 50 * time.Millisecond

// paceOf returns what a node has taken of late if it is taking something, else what it is configured for.
func paceOf(r *cluster.Report, otherwise int64) pace {
	p := pace{rate: otherwise, parallel: defaultMoves}
	if r == nil {
		return p
	}
	p.rate, p.parallel = cmp.Or(r.Most, p.rate), cmp.Or(r.Moves, p.parallel)
	if r.Moving > r.Copied && r.Rate > 0 {
		p.rate, p.measured = int64(r.Rate), true
	}
	return p
}

// seconds is what so many bytes in so many partitions take.
func (p pace) seconds(bytes int64, partitions int) float64 {
	turns := (partitions + p.parallel - 1) / p.parallel
	return max(float64(bytes)/float64(max(p.rate, 1)), float64(turns)*leastMove.Seconds())
}
