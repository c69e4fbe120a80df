package antientropy

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

const (
	// maxList bounds the records of a list: 256 KiB.
	maxList = 16384
	// maxAsked bounds the sums of an answer: 128 KiB.
	maxAsked = 16384
)

// Serve answers another node's request.
func (k *Keeper) Serve(ctx context.Context, from ring.NodeID, body []byte) ([]byte, error) {
	m := &reader{b: body}
	r := k.o.Ring()
	op := m.byte()
	if m.bad {
		return nil, errMalformed
	}
	if r == nil {
		return nil, errNoRing
	}
	switch op {
	case opStates:
		return k.serveStates(r, from, m)
	case opSums:
		return k.serveSums(m)
	case opList:
		return k.serveList(m)
	case opSplit:
		return k.serveSplit(m)
	case opFetch:
		return k.serveFetch(m)
	case opPull:
		return k.servePull(ctx, m)
	case opPush:
		records := m.records()
		if m.bad {
			return nil, errMalformed
		}
		return nil, k.o.Store.Mend(records, 0)
	case opAgree:
		return nil, k.serveAgree(m)
	case opCollect:
		return nil, k.serveCollect(r, m)
	case opHints:
		var out []byte
		for m.more() {
			out = append(out, flag(k.o.Requests.Unsteady(ring.Partition(m.u16())), 1))
		}
		return out, m.err()
	case opHanding:
		var out []byte
		for m.more() {
			out = append(out, flag(k.o.Requests.Handing(ring.Partition(m.u16())), 1))
		}
		return out, m.err()
	case opRebuild:
		if l := m.leaves(); !m.bad {
			k.drifted(l)
		}
		return nil, m.err()
	case opRepair:
		return k.serveRepair(ctx, r, m)
	case opMark:
		if p := ring.Partition(m.u16()); !m.bad {
			k.markHere(p, 0)
		}
		return nil, m.err()
	}
	return nil, errMalformed
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// serveStates also finds out that this node's copies are not to be trusted.
func (k *Keeper) serveStates(r *ring.Ring, from ring.NodeID, m *reader) (out []byte, err error) {
	for m.more() {
		p := ring.Partition(m.u16())
		_, collected := m.horizon(), m.horizon()
		if m.bad {
			return nil, errMalformed
		}
		s := k.stateOf(r, p)
		if s.flags&flagStranger == 0 && collected > s.agreed {
			if err := k.distrust(p, from); err != nil {
				return nil, err
			}
			s = k.stateOf(r, p)
		}
		out = s.append(out)
	}
	return out, m.err()
}

func (k *Keeper) serveSums(m *reader) (out []byte, err error) {
	var leaves []uint64
	for m.more() {
		l := m.leaves()
		parts := uint32(m.u16())
		if m.bad || parts == 0 || (l.hi-l.lo)%parts != 0 || len(out)/8+int(parts) > maxAsked {
			return nil, errMalformed
		}
		leaves = k.o.Store.AppendSums(leaves[:0], l.lo, l.hi)
		for _, sum := range fold(leaves, int(parts)) {
			out = binary.BigEndian.AppendUint64(out, sum)
		}
	}
	return out, m.err()
}

// fold returns the XOR of each of so many equal runs of sums.
func fold(sums []uint64, parts int) []uint64 {
	out := make([]uint64, parts)
	each := len(sums) / parts
	for i := range out {
		for _, s := range sums[i*each : (i+1)*each] {
			out[i] ^= s
		}
	}
	return out
}

func (k *Keeper) serveList(m *reader) ([]byte, error) {
	below, limit, from := m.horizon(), int(m.u32()), m.bytes()
	var spans []span
	for m.more() {
		spans = append(spans, m.span())
	}
	if m.bad || limit < 1 || limit > maxList {
		return nil, errMalformed
	}
	entries, next, hidden, err := k.list(spans, from, nil, below, limit)
	if err != nil {
		return nil, err
	}
	out := appendBytes([]byte{flag(hidden, flagHidden)}, next)
	for _, e := range entries {
		out = appendEntry(out, e)
	}
	return out, nil
}

func (k *Keeper) serveSplit(m *reader) (out []byte, err error) {
	below, s, parts := m.horizon(), m.span(), int(m.u16())
	if m.bad || parts < 1 || parts > maxAsked {
		return nil, errMalformed
	}
	sums, err := k.sums(s, parts, below)
	for _, sum := range sums {
		out = binary.BigEndian.AppendUint64(out, sum)
	}
	return out, err
}

func (k *Keeper) serveFetch(m *reader) ([]byte, error) {
	wanted := m.entries()
	if m.bad {
		return nil, errMalformed
	}
	p := page{}
	done, err := k.fetch(wanted, &p)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(done)), p.out...), nil
}

// fetch puts records that are wanted on a page, and returns for how many of them
// it had room. Entries of a token stand together.
func (k *Keeper) fetch(wanted []entry, p *page) (done int, err error) {
	for done < len(wanted) {
		token, same := wanted[done].token, done+1
		for same < len(wanted) && wanted[same].token == token {
			same++
		}
		records, err := k.recordsOf(token)
		if err != nil {
			return done, err
		}
		for _, e := range wanted[done:same] {
			i := slices.IndexFunc(records, func(r sumRecord) bool { return r.sum == e.sum })
			if i < 0 { // replaced meanwhile: whatever is there now covers it
				for _, r := range records {
					p.out = appendRecord(p.out, r.key, r.value)
				}
			} else if !p.add(records[i].key, records[i].value) {
				return done, nil
			}
			done++
		}
		if len(p.out) >= pageBytes {
			return done, nil
		}
	}
	return done, nil
}

// sumRecord is a record and its sum.
type sumRecord struct {
	sum        uint64
	key, value []byte
}

func (k *Keeper) servePull(ctx context.Context, m *reader) ([]byte, error) {
	below, from, to := m.horizon(), m.bytes(), m.token()
	if m.bad || len(from) < 8 {
		return nil, errMalformed
	}
	lo := ring.Token(binary.BigEndian.Uint64(from))
	if lo > to {
		return nil, errMalformed
	}
	p := page{limit: k.lane.page()}
	var next []byte
	err := k.lane.run(ctx, func() error {
		_, err := k.walk(span{lo, to}, from, below, func(_ ring.Token, name, value []byte) bool {
			if p.out == nil {
				p.out = make([]byte, 0, p.limit+len(name)+len(value)+maxHead)
			}
			if p.add(name, value) {
				return true
			}
			next = slices.Clone(name)
			return false
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return append(appendBytes(nil, next), p.out...), nil
}

// maxHead is what stands before the bytes of a record.
const maxHead = 2 * binary.MaxVarintLen64

// serveAgree notes that this copy holds what all held when a round began.
func (k *Keeper) serveAgree(m *reader) error {
	var ps []ring.Partition
	var doubts []uint32
	var horizons []hlc.Timestamp
	for m.more() {
		ps, doubts, horizons = append(ps, ring.Partition(m.u16())), append(doubts, m.u32()), append(horizons, m.horizon())
	}
	if m.bad {
		return errMalformed
	}
	return k.agree(ps, doubts, horizons)
}

func (k *Keeper) agree(ps []ring.Partition, doubts []uint32, horizons []hlc.Timestamp) error {
	k.collecting.Lock()
	defer k.collecting.Unlock()
	now, sync := time.Now().UnixMilli(), false
	for i, p := range ps {
		if horizons[i] != 0 && k.o.Requests.Moving(p) {
			return errMoving
		}
		if k.at(p).filling {
			return errFilling
		}
		k.o.Requests.Settle(p, doubts[i])
		sync = sync || horizons[i] != 0
	}
	return k.change(ps, sync, func(i int, p *partition) {
		p.agreed = max(p.agreed, horizons[i])
		p.ended, p.because = now, ""
	})
}

// serveCollect lets the dead go that all replicas hold.
func (k *Keeper) serveCollect(r *ring.Ring, m *reader) error {
	var ps []ring.Partition
	var horizons []hlc.Timestamp
	for m.more() {
		ps, horizons = append(ps, ring.Partition(m.u16())), append(horizons, m.horizon())
	}
	if m.bad {
		return errMalformed
	}
	return k.allAgreed(r, ps, horizons)
}

func (k *Keeper) allAgreed(r *ring.Ring, ps []ring.Partition, horizons []hlc.Timestamp) error {
	k.collecting.Lock()
	defer k.collecting.Unlock()
	for i, p := range ps {
		if k.o.Requests.Moving(p) {
			return errMoving
		}
		if k.at(p).agreed < horizons[i] {
			return errFilling // it has lost its own word since
		}
	}
	err := k.change(ps, false, func(i int, p *partition) { p.collected = max(p.collected, horizons[i]) })
	if err != nil {
		return err
	}
	for i, p := range ps {
		first, last := r.SlotRange(p)
		k.o.Store.SetDeathHorizon(first, last, horizons[i])
	}
	k.rouse(wakeCollect)
	return nil
}
