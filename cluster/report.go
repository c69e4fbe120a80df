package cluster

import (
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/ring"
	"kvstore/storage/vfs"

	"github.com/cespare/xxhash/v2"
)

// Report is what a member says to who plans or watches changes of the ring: how far it is with
// the transfers that it drives, and how much it holds.
type Report struct {
	Planned  int // transfers it was given since the last plan, or since it started
	Waiting  int // of them
	Moving   int // of them
	Copied   int // of those moving: only their last steps are left
	Dropping int // partitions that have left and are still here
	Keys     int64
	AllKeys  int64 // of those moving and not Copied, an estimate; the others, too
	Bytes    int64
	AllBytes int64
	Rate     float64       // bytes a second
	Left     time.Duration // 0 when it is not known
	KeyBytes float64       // about what a key takes on its disk
	Free     int64         // bytes on its disk
	Stored   int64         // bytes that it has there
	Most     int64         // bytes a second that it takes at most: transfer.rate
	Moves    int           // partitions that it takes at a time: transfer.moves
	Reason   string        // what keeps it from going on
	Holds    []int64       // keys by partition; nil unless asked for
}

const (
	// reportWithin bounds the question to one member.
	reportWithin = 2 * time.Second
	// askHolds in the question asks for Holds too.
	askHolds = 1
	// maxReason bounds the reason of a report.
	maxReason = 512
)

// append encodes a report: sixteen numbers of 8 bytes, the two that are
// no integers as IEEE 754; the length of the reason in 2 bytes and the reason; 8 bytes for each
// partition. All is big endian.
func (r *Report) append(dst []byte) []byte {
	for _, v := range [...]uint64{
		uint64(r.Planned), uint64(r.Waiting), uint64(r.Moving), uint64(r.Dropping), uint64(r.Keys), uint64(r.AllKeys),
		uint64(r.Bytes), uint64(r.AllBytes), math.Float64bits(r.Rate), uint64(r.Left), math.Float64bits(r.KeyBytes),
		uint64(r.Free), uint64(r.Stored), uint64(r.Most), uint64(r.Moves), uint64(r.Copied),
	} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	reason := r.Reason[:min(len(r.Reason), maxReason)]
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(reason))), reason...)
	for _, keys := range r.Holds {
		dst = binary.BigEndian.AppendUint64(dst, uint64(keys))
	}
	return dst
}

func decodeReport(b []byte) (*Report, error) {
	const numbers = 16
	if len(b) < 8*numbers+2 {
		return nil, errShort
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	r := &Report{
		Planned: int(at(0)), Waiting: int(at(1)), Moving: int(at(2)), Dropping: int(at(3)), Keys: at(4), AllKeys: at(5), Bytes: at(6), AllBytes: at(7),
		Rate: math.Float64frombits(uint64(at(8))), Left: time.Duration(at(9)), KeyBytes: math.Float64frombits(uint64(at(10))),
		Free: at(11), Stored: at(12), Most: at(13), Moves: int(at(14)), Copied: int(at(15)),
	}
	b = b[8*numbers:]
	reason := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < reason || (len(b)-reason)%8 != 0 {
		return nil, errShort
	}
	r.Reason, b = string(b[:reason]), b[reason:]
	for ; len(b) > 0; b = b[8:] {
		r.Holds = append(r.Holds, int64(binary.BigEndian.Uint64(b)))
	}
	return r, nil
}

// Report returns this node's own report, with what it holds if that is asked for.
func (n *Node) Report(ctx context.Context, holds bool) *Report {
	p := n.Transfers()
	out := &Report{
		Waiting: p.Waiting, Moving: len(p.Moving), Copied: p.Copied, Dropping: p.Dropping, Keys: p.Keys, AllKeys: p.AllKeys, Bytes: p.Bytes, AllBytes: p.AllBytes,
		Rate: p.Rate, Left: p.Left, Reason: p.Reason, Most: n.entropy.MoveRate(), Moves: n.moves.Parallel(),
	}
	r := n.room()
	out.Free, out.Stored = r.free, r.stored
	out.Planned = max(int(n.planned.transfers.Load()), out.Waiting+out.Moving)
	for i := range p.Moving {
		if out.Reason == "" {
			out.Reason = p.Moving[i].Reason
		}
	}
	if out.Reason == "" {
		out.Reason = p.LeftWhy
	}
	if r := n.ring.Load(); holds && r != nil {
		out.KeyBytes, out.Holds = n.bytesOfKey(), make([]int64, r.Q)
		for p := range out.Holds {
			out.Holds[p] = entropyRequests{n}.Keys(ctx, ring.Partition(p))
		}
	}
	return out
}

// Reports asks all members that this node reaches. Who does not answer in time is left out.
func (n *Node) Reports(ctx context.Context, holds bool) map[ring.NodeID]*Report {
	r := n.ring.Load()
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	body := []byte{0}
	if holds {
		body[0] = askHolds
	}
	var wg sync.WaitGroup
	answers := make([]*Report, len(r.Members))
	for i := range r.Members {
		switch id := r.Members[i].ID; {
		case id == n.id.Node:
			answers[i] = n.Report(ctx, holds)
		case n.rpc.Connected(id):
			wg.Go(func() {
				if b, err := n.call(ctx, id, methodReport, body); err == nil {
					answers[i], _ = decodeReport(b) // a node of another release says nothing to this one
				}
			})
		}
	}
	wg.Wait()
	reports := make(map[ring.NodeID]*Report, len(answers))
	for i, a := range answers {
		if a != nil {
			reports[r.Members[i].ID] = a
		}
	}
	return reports
}

func (n *Node) serveReport(ctx context.Context, body []byte) []byte {
	return n.Report(ctx, len(body) == 1 && body[0] == askHolds).append(nil)
}

// planned counts what this node was given to do by the last plan, so that it can say how much of
// that is done. The ring has only what is left.
type planned struct {
	epoch     ring.Epoch // of the plan; guarded by Node.adoptMu
	transfers atomic.Int64
}

// follow takes note of a ring that is adopted, and reports whether it has another plan. The caller
// holds adoptMu.
func (p *planned) follow(r *ring.Ring, self ring.NodeID) (another bool) {
	if r.Planned == p.epoch && p.epoch != 0 {
		return false
	}
	p.epoch = r.Planned
	own := int64(0)
	for _, t := range r.Transfers {
		if t.Driver() == self {
			own++
		}
	}
	p.transfers.Store(own)
	return true
}

// plannedName is the file that keeps, for the next start, how much the node was given to do: the epoch of the plan and
// the number of transfers, 8 bytes each, and the hash of both. All are big endian.
const plannedName = "planned"

// followPlan is planned.follow. That the file cannot be written costs only the bar its start.
func (n *Node) followPlan(r *ring.Ring) {
	if !n.planned.follow(r, n.id.Node) {
		return
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(n.planned.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(n.planned.transfers.Load()))
	b = binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
	if err := writeDurably(n.fs, n.o.Dir, plannedName, b); err != nil {
		n.log.Info().Err(err).Msg("after a start it will not be known how much was moved before")
	}
}

// loadPlan reads what followPlan wrote, if it is of the plan that the node has.
func (n *Node) loadPlan(known *ring.Ring) {
	b, err := vfs.ReadFile(n.fs, filepath.Join(n.o.Dir, plannedName))
	if err != nil || len(b) != 24 || binary.BigEndian.Uint64(b[16:]) != xxhash.Sum64(b[:16]) || ring.Epoch(binary.BigEndian.Uint64(b)) != known.Planned {
		n.planned.follow(known, n.id.Node)
		return
	}
	n.planned.epoch = known.Planned
	n.planned.transfers.Store(int64(binary.BigEndian.Uint64(b[8:])))
}
