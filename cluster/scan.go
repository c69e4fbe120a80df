package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// ScanQuery asks for a page of keys.
type ScanQuery struct {
	DB     uint8
	Cursor uint64 // 0 begins; afterwards the Cursor of the page before
	Count  int    // about how many keys to return
	Slot   int    // only this slot; -1 for all
	Levels coordinator.Levels
}

// ScanPage is some keys, and where to go on; a zero Cursor is the end. A page
// may be empty without being the last.
type ScanPage struct {
	Cursor uint64
	Keys   [][]byte
}

const (
	// maxPage bounds the keys of a page, whatever is asked.
	maxPage = 10000
	// maxHops bounds the ranges read for one page, so that a page of a nearly
	// empty database returns with a cursor instead of reading everything.
	maxHops = 64
)

// Scan reads a page of live keys in the order of their tokens. Each range is
// read from as many replicas as R says, or who stands in for them, so every key
// whose write reached W of them is seen. What a fallback holds of others is seen
// only where it is asked as such, and merged: nothing is listed twice. A key that is there throughout is returned whichever nodes the
// pages are asked of: a cursor is a token, and tokens do not change.
func (n *Node) Scan(ctx context.Context, q ScanQuery) (ScanPage, error) {
	v := n.ring.Load()
	if v == nil {
		return ScanPage{}, coordinator.ErrNotReady
	}
	from, end := ring.Token(q.Cursor), ring.TokenEnd
	if q.Slot >= 0 {
		lo := ring.Token(q.Slot) << 48
		from, end = max(from, lo), lo+1<<48
	}
	if from >= end {
		return ScanPage{}, nil
	}
	count := min(max(q.Count, 1), maxPage)
	var page ScanPage
	for range maxHops {
		hi := min(n.sameReplicas(v, from), end)
		found, next, err := n.scanRange(ctx, v, q, from, hi, count-len(page.Keys))
		if err != nil {
			return ScanPage{}, err
		}
		page.Keys = append(page.Keys, found...)
		if from = next; from >= end {
			return page, nil
		}
		if len(page.Keys) >= count {
			break
		}
	}
	page.Cursor = uint64(from)
	return page, nil
}

// sameReplicas returns the end of the run of partitions, from that of t on, that
// the same nodes hold. Where replicas are away each partition stands alone: it has
// its own fallbacks.
func (n *Node) sameReplicas(r *ring.Ring, t ring.Token) ring.Token {
	p := r.PartitionOf(t)
	set := sorted(r.Replicas(p))
	all := !slices.ContainsFunc(set, func(id ring.NodeID) bool { return id != n.id.Node && !n.rpc.Connected(id) })
	for all && int(p)+1 < r.Q && slices.Equal(sorted(r.Replicas(p+1)), set) {
		p++
	}
	_, hi := r.TokenRange(p)
	return hi
}

func sorted(ids []ring.NodeID) []ring.NodeID {
	return slices.Sorted(slices.Values(ids))
}

// found is what one replica says of one key.
type found struct {
	token ring.Token
	name  []byte
	dot   version.Dot
	live  bool
}

// scanRange reads up to about limit keys of a range that R replicas hold all of,
// and returns where to go on.
func (n *Node) scanRange(ctx context.Context, r *ring.Ring, q ScanQuery, lo, hi ring.Token, limit int) (keys [][]byte, next ring.Token, err error) {
	replicas := r.Replicas(r.PartitionOf(lo))
	levels := q.Levels.Or(n.coord.Defaults())
	need := min(max(levels.R.Count(len(replicas), len(replicas)), 1), len(replicas))
	lists, err := n.askReplicas(ctx, n.holders(r, r.PartitionOf(lo), levels.Mode), need, scanBody{q.DB, lo, hi, limit})
	if err != nil {
		return nil, 0, err
	}
	next = hi
	var all []found
	for _, l := range lists {
		if l.more {
			next = min(next, l.items[len(l.items)-1].token+1)
		}
		all = append(all, l.items...)
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.token, b.token), slices.Compare(a.name, b.name), -a.dot.Compare(b.dot))
	})
	for i := range all {
		f := &all[i]
		if f.token >= next {
			break
		}
		if i > 0 && all[i-1].token == f.token && slices.Equal(all[i-1].name, f.name) {
			continue // an older view of the same key
		}
		if f.live {
			keys = append(keys, f.name)
		}
	}
	return keys, next, nil
}

// holders returns the nodes that can be asked what there is of a partition: this
// node first, if it is a replica, then the others that are connected, in order. In
// sloppy mode, for each one that is not, the next fallback follows: it has what was
// written while the replica was away.
func (n *Node) holders(r *ring.Ring, p ring.Partition, mode coordinator.Mode) (usable []ring.NodeID) {
	replicas := r.Replicas(p)
	for _, id := range replicas {
		if id == n.id.Node {
			usable = slices.Insert(usable, 0, id)
		} else if n.rpc.Connected(id) {
			usable = append(usable, id)
		}
	}
	if mode != coordinator.Sloppy || len(usable) == len(replicas) {
		return usable
	}
	for _, id := range r.Fallbacks(p, nil) {
		if len(usable) < len(replicas) && (id == n.id.Node || n.rpc.Connected(id)) {
			usable = append(usable, id)
		}
	}
	return usable
}

// askReplicas scans at need of the holders of a range. In place of one that fails
// another one is asked.
func (n *Node) askReplicas(ctx context.Context, replicas []ring.NodeID, need int, q scanBody) ([]foundList, error) {
	usable := replicas
	if len(usable) < need {
		return nil, coordinator.ErrNoQuorum
	}
	lists := make([]foundList, need)
	errs := make([]error, need)
	var spare atomic.Int64 // the next of usable that is asked in place of another
	spare.Store(int64(need))
	var wg sync.WaitGroup
	body := q.append(nil)
	for i := range need {
		wg.Go(func() {
			for k := i; k < len(usable); k = int(spare.Add(1)) - 1 {
				lists[i], errs[i] = n.scanAt(ctx, usable[k], body)
				if errs[i] == nil || ctx.Err() != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		if ctx.Err() != nil {
			return nil, coordinator.ErrTimeout
		}
		return nil, err
	}
	return lists, nil
}

// scanAt scans at one replica.
func (n *Node) scanAt(ctx context.Context, id ring.NodeID, body []byte) (foundList, error) {
	var answer []byte
	var err error
	if id == n.id.Node {
		answer, err = n.serveScan(ctx, body)
	} else {
		answer, err = n.call(ctx, id, methodScan, body)
	}
	if err != nil {
		return foundList{}, err
	}
	return decodeFound(answer)
}

// scanBody is the request of a scan: db (1), lo, hi (8 each), limit (4), big
// endian.
type scanBody struct {
	db     uint8
	lo, hi ring.Token
	limit  int
}

func (q scanBody) append(dst []byte) []byte {
	dst = append(dst, q.db)
	dst = binary.BigEndian.AppendUint64(dst, uint64(q.lo))
	dst = binary.BigEndian.AppendUint64(dst, uint64(q.hi))
	return binary.BigEndian.AppendUint32(dst, uint32(q.limit))
}

// errUnfilled refuses to list what this node's copy lacks.
var errUnfilled = errors.New("the node is being filled by other replicas")

var errShort = errors.New("malformed body of a service")

func decodeScan(b []byte) (q scanBody, err error) {
	if len(b) != 21 {
		return q, errShort
	}
	q = scanBody{b[0], ring.Token(binary.BigEndian.Uint64(b[1:])), ring.Token(binary.BigEndian.Uint64(b[9:])), int(binary.BigEndian.Uint32(b[17:]))}
	if q.lo > ring.TokenEnd || q.hi > ring.TokenEnd || q.limit < 1 || q.limit > maxPage {
		return q, errShort
	}
	return q, nil
}

// foundList is the answer of a scan: more (1), then for each key its token (8),
// dot (8 node, 8 time), live (1), length (uvarint) and name.
type foundList struct {
	more  bool
	items []found
}

// checkEvery is the number of records after which a scan asks whether anybody
// waits for it still: most may be of other databases.
const checkEvery = 1024

// serveScan lists what this node holds of a range.
func (n *Node) serveScan(ctx context.Context, body []byte) ([]byte, error) {
	q, err := decodeScan(body)
	if err != nil {
		return nil, err
	}
	if r := n.ring.Load(); r != nil && q.lo < q.hi {
		for p := r.PartitionOf(q.lo); p <= r.PartitionOf(q.hi-1); p++ {
			if lo, _ := r.TokenRange(p); !n.coord.Filled(lo) {
				return nil, errUnfilled
			}
		}
	}
	out := []byte{0}
	now := n.o.Now().UnixMilli()
	walked, count, last := 0, 0, ring.Token(0)
	lower, upper := key.AppendToken(nil, uint64(q.lo)), key.AppendToken(nil, uint64(q.hi))
	var bad error
	err = store{n.db}.Scan(lower, upper, func(k, value []byte) bool {
		if walked++; walked%checkEvery == 0 && ctx.Err() != nil {
			bad = ctx.Err()
			return false
		}
		token, db, name, err := key.ParseUser(k)
		if err != nil {
			bad = err
			return false
		}
		if db != q.db {
			return true
		}
		if count >= q.limit && ring.Token(token) != last {
			out[0] = 1
			return false
		}
		dot, kind, deadline, err := version.PeekNewest(value)
		if err != nil {
			bad = fmt.Errorf("%w: object of key %q: %w", coordinator.ErrCorrupt, name, err)
			return false
		}
		if dot.Time <= n.replica.Horizon(db) {
			return true
		}
		live := kind != version.Tombstone && !version.Expired(deadline, now)
		last = ring.Token(token)
		count++
		out = appendFound(out, last, dot, live, name)
		return true
	})
	return out, errors.Join(err, bad)
}

func appendFound(out []byte, t ring.Token, d version.Dot, live bool, name []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(t))
	out = binary.BigEndian.AppendUint64(out, uint64(d.Node))
	out = binary.BigEndian.AppendUint64(out, uint64(d.Time))
	l := byte(0)
	if live {
		l = 1
	}
	out = append(out, l)
	out = binary.AppendUvarint(out, uint64(len(name)))
	return append(out, name...)
}

func decodeFound(b []byte) (l foundList, err error) {
	if len(b) == 0 {
		return l, errShort
	}
	l.more = b[0] == 1
	for b = b[1:]; len(b) > 0; {
		if len(b) < 26 {
			return l, errShort
		}
		size, used := binary.Uvarint(b[25:])
		if used <= 0 || size > uint64(len(b)-25-used) {
			return l, errShort
		}
		name := b[25+used : 25+used+int(size)]
		l.items = append(l.items, found{
			token: ring.Token(binary.BigEndian.Uint64(b)),
			dot:   version.Dot{Node: version.Incarnation(binary.BigEndian.Uint64(b[8:])), Time: hlc.Timestamp(binary.BigEndian.Uint64(b[16:]))},
			live:  b[24] == 1,
			name:  name,
		})
		b = b[25+used+int(size):]
	}
	if l.more && len(l.items) == 0 {
		return l, errShort
	}
	return l, nil
}
