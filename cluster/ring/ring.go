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
	Generation  uint64 // raised by Recover; a ring of a higher one is newer, whatever the epochs
	Epoch       Epoch
	Planned     Epoch // the epoch in which transfers were planned or given up last
	Q           int   // partitions, a power of two
	N           int   // replicas asked for; with PerDC their sum
	PerDC       []DCReplicas
	Paused      bool     // no transfer begins
	Members     []Member // sorted by id
	// Prev are the voters of the ring before this one, sorted; none before the first of a generation. Nobody reads them:
	// who decides on the next ring stands in this one. But they are encoded, so they are in the hash, by which nodes of
	// two releases tell that they have the same ring; they go when the encoding has a next version.
	Prev      []NodeID
	Gone      []Gone     // who has left or was removed, the newest MaxGone, oldest first
	Transfers []Transfer // sorted by partition, those of one in the order in which they happen

	shift    uint     // slot >> shift is the partition
	starts   []uint32 // where in table each preference list starts, and the last one ends
	table    []uint16 // Q preference lists of member indexes, end to end
	ids      []NodeID // table as ids
	longest  int      // length of the longest list
	partners []pairing
	racks    []uint16 // the rack of each member, numbered in order of members
	standIns [MaxMembers / 64]uint64
	hash     uint64
}

// DCReplicas is how many replicas of each partition a data centre has.
type DCReplicas struct {
	DC string
	N  int
}

// Gone is a former member. Its id is never admitted again.
type Gone struct {
	ID      NodeID
	Name    string
	Removed bool // it was declared dead; else it had handed over what it held
}

// MaxGone is how many former members a ring remembers. A node that is older
// than that is a stranger, and refused as such.
const MaxGone = 256

// NewerThan reports whether r replaces o, which may be nil.
func (r *Ring) NewerThan(o *Ring) bool {
	return o == nil || cmp.Or(cmp.Compare(r.Generation, o.Generation), cmp.Compare(r.Epoch, o.Epoch)) > 0
}

// Voters returns the members that decide which ring is next, in order of ids:
// those that have a part and are not declared dead.
func (r *Ring) Voters() []NodeID {
	voters := make([]NodeID, 0, len(r.Members))
	for i := range r.Members {
		if s := r.Members[i].State; s == Active || s == Leaving {
			voters = append(voters, r.Members[i].ID)
		}
	}
	return voters
}

// assemble checks the fields and the table and derives what lookups need.
func (r *Ring) assemble() error {
	if err := checkShape(r.Q, r.N); err != nil {
		return err
	}
	if err := checkPerDC(r.N, r.PerDC); err != nil {
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
	if err := r.checkPast(); err != nil {
		return err
	}
	r.shift = slotBits - uint(bits.TrailingZeros(uint(r.Q)))
	if err := r.fillIDs(); err != nil {
		return err
	}
	if err := r.checkTransfers(); err != nil {
		return err
	}
	r.pairUp()
	r.racks = numberRacks(r.Members)
	r.hash = xxhash.Sum64(r.Append(nil))
	return nil
}

// checkPast checks what the ring remembers of the rings before it.
func (r *Ring) checkPast() error {
	if len(r.Prev) > MaxMembers || len(r.Gone) > MaxGone {
		return errors.New("too many former voters or members")
	}
	for i, id := range r.Prev {
		if id == 0 || i > 0 && r.Prev[i-1] >= id {
			return errors.New("former voters out of order")
		}
	}
	for i, g := range r.Gone {
		again := slices.ContainsFunc(r.Gone[:i], func(other Gone) bool { return other.ID == g.ID })
		if g.ID == 0 || again || len(g.Name) > MaxText || r.Member(g.ID) != nil {
			return fmt.Errorf("former member %v is named twice, or is a member", g.ID)
		}
	}
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

// checkPerDC checks replicas per data centre, which add up to n.
func checkPerDC(n int, perDC []DCReplicas) error {
	sum := 0
	for i, dc := range perDC {
		if i > 0 && perDC[i-1].DC >= dc.DC {
			return fmt.Errorf("replicas of data centre %q are named twice or not in order", dc.DC)
		}
		if dc.DC == "" || len(dc.DC) > MaxText || dc.N < 1 {
			return fmt.Errorf("data centre %.20q with %d replicas: needs a name and at least 1; leave out the data centres that are to have none", dc.DC, dc.N)
		}
		sum += dc.N
	}
	if len(perDC) > 0 && sum != n {
		return fmt.Errorf("%d replicas: those of the data centres add up to %d", n, sum)
	}
	return nil
}

// fillIDs derives ids and who may stand in from the table.
func (r *Ring) fillIDs() error {
	if len(r.starts) != r.Q+1 || int(r.starts[r.Q]) != len(r.table) {
		return errors.New("table is not of the ring's size")
	}
	r.ids = make([]NodeID, len(r.table))
	for p := range r.Q {
		list := r.table[r.starts[p]:r.starts[p+1]]
		if len(list) < 1 || len(list) > MaxReplicas {
			return fmt.Errorf("partition %d has %d replicas", p, len(list))
		}
		r.longest = max(r.longest, len(list))
		for i, m := range list {
			switch {
			case int(m) >= len(r.Members):
				return errors.New("table names a member that is none")
			case slices.Contains(list[:i], m):
				return fmt.Errorf("partition %d names member %v twice", p, r.Members[m].ID)
			case r.Members[m].State == Joining:
				return fmt.Errorf("partition %d names member %v, which is joining", p, r.Members[m].ID)
			case r.Members[m].State != Removed:
				r.standIns[m/64] |= 1 << (m % 64)
			}
			r.ids[int(r.starts[p])+i] = r.Members[m].ID
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

// EffectiveN returns the greatest number of replicas that a partition has: N, or
// fewer when fewer members hold partitions.
func (r *Ring) EffectiveN() int { return r.longest }

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

// Replicas returns a partition's preference list: who is read and counts. Lists
// differ in length while replicas are added. It must not be changed.
func (r *Ring) Replicas(p Partition) []NodeID {
	from, to := r.starts[p], r.starts[p+1]
	return r.ids[from:to:to]
}

// ReplicaIndexes returns a partition's preference list as indexes of Members. It
// must not be changed.
func (r *Ring) ReplicaIndexes(p Partition) []uint16 {
	from, to := r.starts[p], r.starts[p+1]
	return r.table[from:to:to]
}

// Holds reports whether a node is among a partition's replicas.
func (r *Ring) Holds(p Partition, id NodeID) bool { return slices.Contains(r.Replicas(p), id) }

// Fallbacks appends to dst the nodes that continue a partition's preference
// list: the holders of the following partitions, clockwise, each once, first
// those in racks that no replica is in. Neither a removed member nor the partner
// of a replica is among them.
func (r *Ring) Fallbacks(p Partition, dst []NodeID) []NodeID {
	var named, crowded [MaxMembers / 64]uint64
	for _, m := range r.ReplicaIndexes(p) {
		named[m/64] |= 1 << (m % 64)
		crowded[r.racks[m]/64] |= 1 << (r.racks[m] % 64)
	}
	if len(r.partners) > 0 && r.partners[p].id != 0 {
		m := r.partners[p].member
		named[m/64] |= 1 << (m % 64)
	}
	open := 0
	for i, w := range r.standIns {
		named[i] |= ^w
		open += bits.OnesCount64(^named[i])
	}
	for _, other := range [2]bool{true, false} {
		seen := named
		left := open
		for i := int(r.starts[p+1]); left > 0; i++ {
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
