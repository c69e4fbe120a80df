package ring

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Rebirth returns the first ring of a new life of a cluster that was restored from backups: the same members hold the same
// partitions, in a cluster of another id and in incarnations of their own. It depends on its arguments alone, so every node
// that is restored with the same ring, name and word makes the same ring, and no two nodes that were restored otherwise
// have a cluster in common.
func Rebirth(r *Ring, name, word string) (*Ring, error) {
	if word == "" {
		return nil, errors.New("a new life needs a word that names it")
	}
	h := xxhash.New()
	_, _ = fmt.Fprintf(h, "kvstore life %q %q %016x %016x", name, word, r.ClusterID, r.Hash()) // a hash takes everything
	id := h.Sum64() | 1
	d := r.draft()
	d.ClusterID, d.ClusterName, d.Generation, d.Prev = id, name, r.Generation+1, nil
	for i := range d.Members {
		m := &d.Members[i]
		var seed [16]byte
		binary.BigEndian.PutUint64(seed[:], id)
		binary.BigEndian.PutUint64(seed[8:], uint64(m.ID))
		m.Incarnation = xxhash.Sum64(seed[:]) | 1<<32
	}
	return d.seal()
}

// Missing returns the partitions that a node holds by this ring, or gets all writes of, and does not by an earlier one: what
// its directory of that time cannot have.
func (r *Ring) Missing(earlier *Ring, id NodeID) (ps []Partition) {
	for p := range Partition(r.Q) {
		has := r.Q == earlier.Q && earlier.Holds(p, id)
		if r.Holds(p, id) && !has {
			ps = append(ps, p)
		}
	}
	return ps
}
