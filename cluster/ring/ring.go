package ring

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// DefaultPartitions is the number of partitions of a cluster that asks for none.
	DefaultPartitions = 256
	// MaxPartitions is one partition a slot.
	MaxPartitions = Slots
	// MaxReplicas bounds N; above it a quorum is slower than it is safe.
	MaxReplicas = 16
)

// Partition is a run of consecutive slots, the unit of placement.
type Partition uint16

// Epoch counts the rings of a cluster. It grows with every change.
type Epoch uint64

// Ring is the table of partitions and the members that hold them. It never
// changes after it was made; all its methods may be called concurrently.
type Ring struct {
	ClusterID   uint64
	ClusterName string
	Epoch       Epoch
	Q           int      // partitions, a power of two
	N           int      // replicas asked for
	Members     []Member // sorted by id

	shift    uint     // slot >> shift is the partition
	replicas int      // effective N, the length of every preference list
	table    []uint16 // Q preference lists of member indexes, end to end
	ids      []NodeID // table as ids
	racks    []uint16 // the rack of each member, numbered in order of members
	holders  int      // members that hold a partition
	hash     uint64
}

// assemble checks the fields and the table and derives what lookups need.
func (r *Ring) assemble() error {
	if err := checkShape(r.Q, r.N); err != nil {
		return err
	}
	if len(r.ClusterName) > MaxText {
		return fmt.Errorf("cluster name is over %d bytes", MaxText)
	}
	sorted, err := sortMembers(r.Members)
	if err != nil {
		return err
	}
	r.Members = sorted
	if r.replicas < 1 || r.replicas > r.N || r.replicas > len(r.Members) || len(r.table) != r.Q*r.replicas {
		return errors.New("table is not of the ring's size")
	}
	r.shift = slotBits - uint(bits.TrailingZeros(uint(r.Q)))
	if err := r.fillIDs(); err != nil {
		return err
	}
	r.racks = numberRacks(r.Members)
	r.hash = xxhash.Sum64(r.Append(nil))
	return nil
}

// checkShape checks the two numbers a cluster is created with.
func checkShape(q, n int) error {
	if q < 1 || q > MaxPartitions || q&(q-1) != 0 {
		return fmt.Errorf("%d partitions: not a power of two from 1 to %d", q, MaxPartitions)
	}
	if n < 1 || n > MaxReplicas {
		return fmt.Errorf("%d replicas: not from 1 to %d", n, MaxReplicas)
	}
	return nil
}

// fillIDs derives ids and holders from the table.
func (r *Ring) fillIDs() error {
	r.ids = make([]NodeID, len(r.table))
	held := make([]bool, len(r.Members))
	for i, m := range r.table {
		if int(m) >= len(r.Members) {
			return errors.New("table names a member that is none")
		}
		list := r.table[i-i%r.replicas : i]
		if slices.Contains(list, m) {
			return fmt.Errorf("partition %d names member %v twice", i/r.replicas, r.Members[m].ID)
		}
		r.ids[i] = r.Members[m].ID
		if !held[m] {
			held[m] = true
			r.holders++
		}
	}
	return nil
}

// numberRacks gives each member the number of its rack, counted from zero in the
// order in which members name them.
func numberRacks(members []Member) []uint16 {
	type rack struct{ dc, name string }
	numbers := make(map[rack]uint16)
	racks := make([]uint16, len(members))
	for i := range members {
		name := rack{members[i].DC, members[i].Rack}
		number, found := numbers[name]
		if !found {
			number = uint16(len(numbers))
			numbers[name] = number
		}
		racks[i] = number
	}
	return racks
}

// EffectiveN returns the number of replicas every partition has: N, or fewer
// when fewer members hold partitions.
func (r *Ring) EffectiveN() int { return r.replicas }

// PartitionOf returns the partition of a token.
func (r *Ring) PartitionOf(t Token) Partition { return r.OfSlot(t.Slot()) }

// OfSlot returns the partition of a slot.
func (r *Ring) OfSlot(s Slot) Partition { return Partition(s >> r.shift) }

// SlotRange returns the first and the last slot of a partition.
func (r *Ring) SlotRange(p Partition) (first, last Slot) {
	return Slot(int(p) << r.shift), Slot((int(p)+1)<<r.shift - 1)
}

// TokenRange returns a partition's tokens: from lo up to, and without, hi.
func (r *Ring) TokenRange(p Partition) (lo, hi Token) {
	first, last := r.SlotRange(p)
	return Token(first) << hashBits, (Token(last) + 1) << hashBits
}

// Replicas returns a partition's preference list. It must not be changed.
func (r *Ring) Replicas(p Partition) []NodeID {
	from := int(p) * r.replicas
	return r.ids[from : from+r.replicas : from+r.replicas]
}

// ReplicaIndexes returns a partition's preference list as indexes of Members. It
// must not be changed.
func (r *Ring) ReplicaIndexes(p Partition) []uint16 {
	from := int(p) * r.replicas
	return r.table[from : from+r.replicas : from+r.replicas]
}

// Holds reports whether a node is among a partition's replicas.
func (r *Ring) Holds(p Partition, id NodeID) bool { return slices.Contains(r.Replicas(p), id) }

// Fallbacks appends to dst the nodes that continue a partition's preference
// list: the holders of the following partitions, clockwise, each once, first
// those in racks that no replica is in.
func (r *Ring) Fallbacks(p Partition, dst []NodeID) []NodeID {
	var named, crowded [MaxMembers / 64]uint64
	list := r.ReplicaIndexes(p)
	for _, m := range list {
		named[m/64] |= 1 << (m % 64)
		crowded[r.racks[m]/64] |= 1 << (r.racks[m] % 64)
	}
	for _, other := range [2]bool{true, false} {
		seen := named
		left := r.holders - len(list)
		for i := (int(p) + 1) * r.replicas; left > 0; i++ {
			m := r.table[i%len(r.table)]
			if seen[m/64]>>(m%64)&1 != 0 {
				continue
			}
			seen[m/64] |= 1 << (m % 64)
			left--
			rack := r.racks[m]
			if (crowded[rack/64]>>(rack%64)&1 == 0) == other {
				dst = append(dst, r.Members[m].ID)
			}
		}
	}
	return dst
}

// Index returns a member's index in Members.
func (r *Ring) Index(id NodeID) (index int, found bool) {
	return slices.BinarySearchFunc(r.Members, id, func(m Member, id NodeID) int { return cmp.Compare(m.ID, id) })
}

// Member returns a member, nil when the ring has none of that id. It must not be
// changed.
func (r *Ring) Member(id NodeID) *Member {
	i, found := r.Index(id)
	if !found {
		return nil
	}
	return &r.Members[i]
}

// Hash returns a hash of the whole ring: equal rings have equal hashes.
func (r *Ring) Hash() uint64 { return r.hash }
