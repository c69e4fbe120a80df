package antientropy

import (
	"bytes"
	"cmp"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
	"kvstore/storage/key"
)

// maxTidy bounds how many flushed records one walk puts in order.
const maxTidy = 1024

// walk calls fn with the records of a span that count, as readers see them, from
// the key from on, if that is not empty. hidden reports whether there were others.
func (k *Keeper) walk(s span, from []byte, below hlc.Timestamp, fn func(t ring.Token, key, value []byte) bool) (hidden bool, err error) {
	lower, upper := s.bounds()
	if bytes.Compare(from, lower) > 0 {
		lower = from
	}
	if bytes.Compare(lower, upper) >= 0 {
		return false, nil
	}
	var untidy [][]byte
	var o version.Object
	err = k.o.Store.Scan(lower, upper, func(name, value []byte) bool {
		token, _, _, err := key.ParseUser(name)
		if err != nil {
			return true
		}
		seen, ok := k.o.Store.Seen(name, value)
		if !ok || len(seen) != len(value) || !bytes.Equal(seen, value) {
			hidden = true
			if len(untidy) < maxTidy {
				untidy = append(untidy, bytes.Clone(name))
			}
		}
		if !ok {
			return true
		}
		if dead(&o, seen, below) {
			hidden = true
			return true
		}
		return fn(ring.Token(token), name, seen)
	})
	for _, name := range untidy {
		if err == nil {
			err = k.o.Store.Tidy(name)
		}
	}
	return hidden, err
}

// dead reports whether a record counts as absent at a horizon. o is room.
func dead(o *version.Object, value []byte, below hlc.Timestamp) bool {
	if below == 0 {
		return false
	}
	dot, kind, deadline, err := version.PeekNewest(value)
	if err != nil || dot.Time > below || kind != version.Tombstone && deadline == 0 {
		return false
	}
	return o.Decode(value) == nil && replica.Dead(o, below)
}

// list returns the records of spans from one key up to another, without it; an
// empty key is no bound. When it reaches the limit, next is where to go on.
func (k *Keeper) list(spans []span, from, upTo []byte, below hlc.Timestamp, limit int) (entries []entry, next []byte, hidden bool, err error) {
	for _, s := range spans {
		over := false
		hid, err := k.walk(s, from, below, func(t ring.Token, name, value []byte) bool {
			if len(upTo) > 0 && bytes.Compare(name, upTo) >= 0 {
				over = true
				return false
			}
			if len(entries) >= limit {
				next, over = bytes.Clone(name), true
				return false
			}
			entries = append(entries, entry{t, replica.Sum(name, value)})
			return true
		})
		hidden = hidden || hid
		if err != nil || over {
			return entries, next, hidden, err
		}
	}
	return entries, nil, hidden, nil
}

// sums returns the sums of the equal parts of a span, taken from its records.
func (k *Keeper) sums(s span, parts int, below hlc.Timestamp) ([]uint64, error) {
	pieces := s.split(parts)
	out := make([]uint64, len(pieces))
	i := 0
	_, err := k.walk(s, nil, below, func(t ring.Token, name, value []byte) bool {
		for t >= pieces[i].hi {
			i++
		}
		out[i] ^= replica.Sum(name, value)
		return true
	})
	return out, err
}

// page collects records up to a limit, pageBytes if that is 0.
type page struct {
	out   []byte
	limit int
	full  bool
}

// add appends a record; false when the page had no room left.
func (p *page) add(name, value []byte) bool {
	if len(p.out) > 0 && len(p.out)+len(name)+len(value) > cmp.Or(p.limit, pageBytes) {
		p.full = true
		return false
	}
	p.out = appendRecord(p.out, name, value)
	return true
}
