package antientropy

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// pulled is a page of what another replica has.
type pulled struct {
	records []replica.Record
	size    int    // of the records, in bytes
	next    []byte // where the next page begins; empty at the end
	err     error
}

// pull takes all the other replica has in a span where this one has nothing, or little
// that it would be worth to compare. While a page is merged the next one is read.
func (c *pair) pull(ctx context.Context, s span) error {
	from, _ := s.bounds()
	page := c.page(ctx, s, from)
	for {
		if page.err != nil {
			return page.err
		}
		if len(page.next) == 0 {
			return c.merge(ctx, page)
		}
		var (
			wg    sync.WaitGroup
			ahead pulled
		)
		reading, stop := context.WithCancel(ctx)
		wg.Go(func() { ahead = c.page(reading, s, page.next) })
		err := c.merge(ctx, page)
		if err != nil {
			stop()
		}
		wg.Wait()
		stop()
		if err != nil {
			return err
		}
		page = ahead
	}
}

// page asks for a page. It may run beside merge.
func (c *pair) page(ctx context.Context, s span, from []byte) (p pulled) {
	body := binary.BigEndian.AppendUint64([]byte{opPull}, uint64(c.below))
	body = binary.BigEndian.AppendUint64(appendBytes(body, from), uint64(s.hi))
	m, err := c.ask(ctx, body)
	if err != nil {
		return pulled{err: err}
	}
	p.next = m.bytes()
	p.size = len(m.b)
	if p.records = m.records(); m.bad {
		p.err = errMalformed
	}
	return p
}

// merge merges a page, a slice at a time.
func (c *pair) merge(ctx context.Context, p pulled) error {
	c.count(len(p.records), len(p.records))
	c.tell(len(p.records), p.size)
	for _, r := range p.records {
		if len(r.Key) >= 8 {
			c.found[leafOf(ring.Token(binary.BigEndian.Uint64(r.Key)))] = true
		}
	}
	for slice := range slices.Chunk(p.records, sliceKeys) {
		if err := c.k.lane.run(ctx, func() error { return c.k.o.Store.Mend(slice, c.yields) }); err != nil {
			return fmt.Errorf("take over records: %w", err)
		}
	}
	return nil
}
