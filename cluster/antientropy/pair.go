package antientropy

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// pair brings this node's copy of a partition and another replica's level.
type pair struct {
	k    *Keeper
	peer ring.NodeID
	// below is the horizon at which the dead count as absent on both sides.
	below hlc.Timestamp
	// yields is not 0 when this copy is not to be trusted as far as it is from at or
	// before it: there the other one's is taken instead of merged.
	yields hlc.Timestamp
	tally  *Tally
	// eager does not wait for writes under way: what is taken too much is merged.
	eager bool
	// gives takes nothing, and of what is here gives what is from later than after.
	gives bool
	after hlc.Timestamp
	moved func(keys int, bytes int64) // is told of records, unless it is nil
	pace  *pacer                      // nil for that of repair

	found  map[uint32]bool // leaves in which something differed
	hidden bool            // records were passed over
}

const (
	// splitAbove is how many records of a span are listed at once; above it, which
	// happens where keys share a hash tag, the span is divided by sums first.
	splitAbove = 1024
	// splitInto is how many parts it is divided into: each then has so few that it
	// is listed, for up to a quarter of a million.
	splitInto = 256
	// spansAtOnce is how many spans one list is asked of.
	spansAtOnce = 64
)

// ask asks the other replica, at the pace.
func (c *pair) ask(ctx context.Context, body []byte) (*reader, error) {
	pace := c.pace
	if pace == nil {
		pace = c.k.pace
	}
	answer, err := c.k.askAt(ctx, pace, c.peer, body, c.tally)
	return &reader{b: answer}, err
}

// ask sends a request, counts it and pays for it.
func (k *Keeper) ask(ctx context.Context, to ring.NodeID, body []byte, t *Tally) ([]byte, error) {
	return k.askAt(ctx, k.pace, to, body, t)
}

// askAt is ask at a pace.
func (k *Keeper) askAt(ctx context.Context, pace *pacer, to ring.NodeID, body []byte, t *Tally) ([]byte, error) {
	asking, cancel := context.WithTimeout(ctx, askWithin+time.Duration(len(body)>>20)*time.Second)
	defer cancel()
	answer, err := k.o.Peers.Ask(asking, to, body)
	moved := len(body) + len(answer)
	k.Metrics.Moved.Add(uint64(moved))
	t.Moved += int64(moved)
	if err != nil {
		pace.failed()
		return nil, err
	}
	if !pace.take(ctx, moved) {
		return nil, ctx.Err()
	}
	return answer, nil
}

// level finds what differs in a partition and exchanges it. When it returns nil,
// each of the two holds everything that the other held when it was called.
func (c *pair) level(ctx context.Context, l leafRange) error {
	leaves, err := c.apart(ctx, []leafRange{l})
	if err != nil || len(leaves) == 0 {
		return err
	}
	// What was under way has arrived meanwhile.
	if !c.eager {
		if !sleep(ctx, c.k.o.Recheck) {
			return ctx.Err()
		}
		if leaves, err = c.stillApart(ctx, leaves); err != nil || len(leaves) == 0 {
			return err
		}
	}
	c.found = make(map[uint32]bool)
	if err := c.exchangeLeaves(ctx, leaves); err != nil {
		return err
	}
	if c.gives {
		return nil
	}
	return c.mistrustSums(ctx, leaves)
}

// mistrustSums has the sums of leaves made anew that differ although the records
// do not: the engine could not know what a damaged record had been.
func (c *pair) mistrustSums(ctx context.Context, leaves []uint32) error {
	leaves = slices.DeleteFunc(slices.Clone(leaves), func(l uint32) bool { return c.found[l] })
	if c.hidden || len(leaves) == 0 {
		return nil
	}
	leaves, err := c.stillApart(ctx, leaves)
	if err != nil {
		return err
	}
	for _, r := range runs(leaves) {
		c.k.drifted(r)
		if _, err := c.ask(ctx, appendLeaves([]byte{opRebuild}, r)); err != nil {
			return err
		}
	}
	return nil
}

// apart returns the leaves, of ranges, whose sums differ: from the root through
// the branches, as far as they do.
func (c *pair) apart(ctx context.Context, ranges []leafRange) (leaves []uint32, err error) {
	for len(ranges) > 0 {
		n := min(len(ranges), maxAsked/fanOut)
		batch := ranges[:n]
		ranges = slices.Clone(ranges[n:])
		body := []byte{opSums}
		for _, r := range batch {
			count, _ := r.parts()
			body = binary.BigEndian.AppendUint16(appendLeaves(body, r), uint16(count))
		}
		m, err := c.ask(ctx, body)
		if err != nil {
			return nil, err
		}
		for _, r := range batch {
			count, each := r.parts()
			own := fold(c.k.o.Store.AppendSums(nil, r.lo, r.hi), int(count))
			for i := range count {
				sub := leafRange{r.lo + i*each, r.lo + (i+1)*each}
				switch theirs := m.u64(); {
				case m.bad:
					return nil, errMalformed
				case theirs == own[i]:
				case each == 1:
					leaves = append(leaves, sub.lo)
				default:
					ranges = append(ranges, sub)
				}
			}
		}
	}
	slices.Sort(leaves)
	return leaves, nil
}

// stillApart asks for the sums of leaves again.
func (c *pair) stillApart(ctx context.Context, leaves []uint32) (still []uint32, err error) {
	for batch := range slices.Chunk(leaves, maxAsked) {
		body := []byte{opSums}
		for _, r := range runs(batch) {
			body = binary.BigEndian.AppendUint16(appendLeaves(body, r), uint16(min(r.hi-r.lo, 1<<15)))
		}
		m, err := c.ask(ctx, body)
		if err != nil {
			return nil, err
		}
		for _, l := range batch {
			if m.u64() != c.k.o.Store.Sum(l, l+1) {
				still = append(still, l)
			}
		}
		if m.bad {
			return nil, errMalformed
		}
	}
	return still, nil
}

// exchangeLeaves exchanges the records of leaves that differ.
func (c *pair) exchangeLeaves(ctx context.Context, leaves []uint32) error {
	var small []span
	for _, r := range runs(leaves) {
		n, err := c.countUpTo(r.tokens(), 1)
		if err != nil {
			return err
		}
		if n == 0 && c.gives {
			continue
		}
		if n == 0 { // nothing to compare with: this node was emptied, most likely
			if err := c.pull(ctx, r.tokens()); err != nil {
				return err
			}
			continue
		}
		for l := r.lo; l < r.hi; l++ {
			if small, err = c.divide(ctx, small, leafRange{l, l + 1}.tokens()); err != nil {
				return err
			}
			if len(small) >= spansAtOnce {
				if err := c.exchange(ctx, small); err != nil {
					return err
				}
				small = small[:0]
			}
		}
	}
	return c.exchange(ctx, small)
}

// countUpTo counts the records of a span, no further than limit.
func (c *pair) countUpTo(s span, limit int) (n int, err error) {
	_, err = c.k.walk(s, nil, c.below, func(ring.Token, []byte, []byte) bool {
		n++
		return n < limit
	})
	return n, err
}

// divide appends s to spans, or where it has many records those parts of it whose
// sums differ.
func (c *pair) divide(ctx context.Context, spans []span, s span) ([]span, error) {
	n, err := c.countUpTo(s, splitAbove+1)
	if err != nil {
		return spans, err
	}
	pieces := s.split(splitInto)
	if n <= splitAbove || len(pieces) == 1 {
		return append(spans, s), nil
	}
	body := binary.BigEndian.AppendUint64([]byte{opSplit}, uint64(c.below))
	body = binary.BigEndian.AppendUint16(appendSpan(body, s), splitInto)
	m, err := c.ask(ctx, body)
	if err != nil {
		return spans, err
	}
	own, err := c.k.sums(s, splitInto, c.below)
	if err != nil {
		return spans, err
	}
	for i, sum := range own {
		if m.u64() == sum {
			continue
		}
		if spans, err = c.divide(ctx, spans, pieces[i]); err != nil {
			return spans, err
		}
	}
	return spans, m.err()
}

func (c *pair) count(compared, differing int) {
	c.tally.Keys += int64(compared)
	c.tally.Differing += int64(differing)
	c.k.Metrics.Differing.Add(uint64(differing))
}

// exchange compares the records of spans one by one and sends what differs, both
// ways.
func (c *pair) exchange(ctx context.Context, spans []span) error {
	var from []byte
	for len(spans) > 0 {
		body := binary.BigEndian.AppendUint64([]byte{opList}, uint64(c.below))
		body = appendBytes(binary.BigEndian.AppendUint32(body, maxList), from)
		for _, s := range spans {
			body = appendSpan(body, s)
		}
		m, err := c.ask(ctx, body)
		if err != nil {
			return err
		}
		flags, next := m.byte(), m.bytes()
		theirs := m.entries()
		if m.bad || len(next) > 0 && bytes.Compare(next, from) <= 0 {
			return errMalformed
		}
		mine, _, hidden, err := c.k.list(spans, from, next, c.below, int(^uint(0)>>1))
		if err != nil {
			return err
		}
		c.hidden = c.hidden || hidden || flags&flagHidden != 0
		if !c.k.pace.take(ctx, 16*len(mine)) {
			return ctx.Err()
		}
		if err := c.trade(ctx, mine, theirs); err != nil {
			return err
		}
		if from = next; len(next) == 0 {
			return nil
		}
	}
	return nil
}

// trade fetches what only the other replica has and gives it what only this one
// has: what was fetched comes first, so that what goes back is merged already.
func (c *pair) trade(ctx context.Context, mine, theirs []entry) error {
	onlyMine, onlyTheirs := diff(mine, theirs)
	c.count(0, max(len(onlyMine), len(onlyTheirs)))
	for _, e := range onlyMine {
		c.found[leafOf(e.token)] = true
	}
	has := make(map[entry]bool, len(onlyTheirs))
	for _, e := range onlyTheirs {
		c.found[leafOf(e.token)] = true
		has[e] = true
	}
	if !c.gives {
		if err := c.take(ctx, onlyTheirs); err != nil {
			return err
		}
	}
	return c.give(ctx, onlyMine, has)
}

// take fetches records and merges them.
func (c *pair) take(ctx context.Context, wanted []entry) error {
	for len(wanted) > 0 {
		n := min(len(wanted), maxList)
		body := []byte{opFetch}
		for _, e := range wanted[:n] {
			body = appendEntry(body, e)
		}
		m, err := c.ask(ctx, body)
		if err != nil {
			return err
		}
		done := int(m.u32())
		c.tell(done, len(m.b))
		records := m.records()
		if m.bad || done < 1 || done > n {
			return errMalformed
		}
		if err := c.k.o.Store.Mend(records, c.yields); err != nil {
			return fmt.Errorf("merge records: %w", err)
		}
		wanted = wanted[done:]
	}
	return nil
}

// give sends the records of tokens as they are now, but for those that the other
// replica has.
func (c *pair) give(ctx context.Context, entries []entry, has map[entry]bool) error {
	p := page{out: []byte{opPush}}
	var o version.Object
	last := ring.TokenEnd
	for _, e := range entries {
		if e.token == last {
			continue
		}
		last = e.token
		records, err := c.k.recordsOf(e.token)
		if err != nil {
			return err
		}
		for _, r := range records {
			if has[entry{e.token, r.sum}] || dead(&o, r.value, c.below) || !c.later(r.value) {
				continue
			}
			if gave, err := c.yield(r); err != nil || gave {
				if err != nil {
					return err
				}
				continue
			}
			if len(p.out) > 1 && !p.add(r.key, r.value) {
				if _, err := c.ask(ctx, p.out); err != nil {
					return err
				}
				p = page{out: []byte{opPush}}
			}
			if len(p.out) == 1 {
				p.out = appendRecord(p.out, r.key, r.value)
			}
		}
	}
	if len(p.out) > 1 {
		if _, err := c.ask(ctx, p.out); err != nil {
			return err
		}
	}
	return nil
}

// later reports whether a record is to be given.
func (c *pair) later(value []byte) bool {
	if c.after == 0 {
		return true
	}
	dot, _, _, err := version.PeekNewest(value)
	return err == nil && dot.Time > c.after
}

// tell tells of records that were moved.
func (c *pair) tell(records int, bytes int) {
	if c.moved != nil {
		c.moved(records, int64(bytes))
	}
}

// yield removes a record that this copy is not trusted with, and the other has
// not.
func (c *pair) yield(r sumRecord) (gave bool, err error) {
	if c.yields == 0 {
		return false, nil
	}
	dot, _, _, err := version.PeekNewest(r.value)
	if err != nil || dot.Time > c.yields {
		return false, nil
	}
	_, err = c.k.o.Store.Yield(r.key, c.yields)
	return true, err
}

// recordsOf returns all records of a token.
func (k *Keeper) recordsOf(t ring.Token) (out []sumRecord, err error) {
	_, err = k.walk(span{t, t + 1}, nil, 0, func(_ ring.Token, name, value []byte) bool {
		out = append(out, sumRecord{replica.Sum(name, value), bytes.Clone(name), bytes.Clone(value)})
		return true
	})
	return out, err
}
