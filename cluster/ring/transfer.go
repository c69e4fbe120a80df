package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// Step is how far a transfer has come. A transfer that is done is in the ring no
// more.
type Step uint8

// The steps of a transfer.
const (
	Waiting  Step = iota // planned; changes nothing yet
	Copying              // To is filled; writes go to both
	Switched             // To is read; writes still go to both
)

// String returns the step's name.
func (s Step) String() string {
	return [...]string{"waiting", "copying", "switched", "?"}[s&3]
}

// Transfer takes one replica of a partition from a node to another.
//
// What it means for a request depends on its step and on From:
//
//	                   Replicas names      Partner        reads
//	Waiting            From                               From
//	Copying            From                To             From
//	Switched           To, in its place    From           To
//	From is 0          the others          To, of the     the others    To is appended
//	 (Copying)                             last living                  when done
//	                                       place
//	To is 0            From too                           all           From is taken
//	 (Copying)                                                          out when done
//	From is Removed    To, in its place                   not To        To is Unfilled
//	 (Copying)                                                          until done
//
// A place and its partner count once, when both have acknowledged. At most one
// transfer of a partition is beyond Waiting, and it is the first of them.
type Transfer struct {
	Partition Partition
	From      NodeID // zero: the partition gets one replica more
	To        NodeID // zero: the partition gets one replica fewer
	Step      Step
}

// Driver returns the node that takes the transfer from step to step.
func (t Transfer) Driver() NodeID { return cmp.Or(t.To, t.From) }

// paired reports whether the transfer goes from a living node to another, which
// is the kind that is Switched.
func (r *Ring) paired(t Transfer) bool {
	return t.From != 0 && t.To != 0 && !r.removed(t.From)
}

// fills reports whether the transfer replaces what a removed member had.
func (r *Ring) fills(t Transfer) bool { return t.From != 0 && r.removed(t.From) }

func (r *Ring) removed(id NodeID) bool {
	m := r.Member(id)
	return m != nil && m.State == Removed
}

// pairing is what a transfer under way means for one partition.
type pairing struct {
	id       NodeID // the partner, zero: none
	member   uint16 // the partner's index in Members
	place    int8   // in the preference list
	unfilled int8   // the place that answers no reads, -1: none
}

// pairUp derives partners from the transfers.
func (r *Ring) pairUp() {
	if len(r.Transfers) == 0 {
		return
	}
	r.partners = make([]pairing, r.Q)
	for p := range r.partners {
		r.partners[p].unfilled = -1
	}
	for _, t := range r.Transfers {
		if t.Step == Waiting {
			continue
		}
		pair, list := &r.partners[t.Partition], r.Replicas(t.Partition)
		switch {
		case r.fills(t):
			pair.unfilled = int8(slices.Index(list, t.To))
		case t.To == 0:
		case t.From == 0:
			pair.id, pair.place = t.To, int8(r.lastLiving(list))
		case t.Step == Copying:
			pair.id, pair.place = t.To, int8(slices.Index(list, t.From))
		default:
			pair.id, pair.place = t.From, int8(slices.Index(list, t.To))
		}
		if pair.id != 0 {
			m, _ := r.Index(pair.id)
			pair.member = uint16(m)
		}
	}
}

// lastLiving returns the last place of a list whose node is not removed: a place
// that can count.
func (r *Ring) lastLiving(list []NodeID) int {
	for place, id := range slices.Backward(list) {
		if !r.removed(id) {
			return place
		}
	}
	return len(list) - 1
}

// Partner returns the node that gets a partition's writes beside the replica at a
// place of its list. The place counts when both have acknowledged.
func (r *Ring) Partner(p Partition) (place int, id NodeID, ok bool) {
	if len(r.partners) == 0 || r.partners[p].id == 0 {
		return 0, 0, false
	}
	return int(r.partners[p].place), r.partners[p].id, true
}

// Unfilled returns the place of a partition's list whose node stands in for a
// removed member and has yet to get what that one had. It takes writes and
// answers no reads.
func (r *Ring) Unfilled(p Partition) (place int, ok bool) {
	if len(r.partners) == 0 || r.partners[p].unfilled < 0 {
		return 0, false
	}
	return int(r.partners[p].unfilled), true
}

// TransferOf returns the transfer of a partition that is under way, or else the
// one that is next.
func (r *Ring) TransferOf(p Partition) (t Transfer, ok bool) {
	at := r.firstTransfer(p)
	if at == len(r.Transfers) || r.Transfers[at].Partition != p {
		return Transfer{}, false
	}
	return r.Transfers[at], true
}

// firstTransfer returns where in Transfers those of p begin.
func (r *Ring) firstTransfer(p Partition) int {
	return sort.Search(len(r.Transfers), func(i int) bool { return r.Transfers[i].Partition >= p })
}

// Queue returns the transfers that a node drives and may begin now, the most
// urgent first: what removed members had, then replicas that partitions lack,
// those with the fewest before others, then the rest. Within each kind sources
// take turns, and each driver begins with another one, so that no node is the
// source of all that goes on.
func (r *Ring) Queue(driver NodeID) []Transfer {
	type entry struct {
		Transfer
		urgency int
		turn    int
	}
	var queue []entry
	for i, t := range r.Transfers {
		if t.Step != Waiting || t.Driver() != driver || i > 0 && r.Transfers[i-1].Partition == t.Partition {
			continue
		}
		queue = append(queue, entry{Transfer: t, urgency: r.urgency(t)})
	}
	slices.SortFunc(queue, func(a, b entry) int {
		return cmp.Compare(hashPair(uint64(a.Partition), uint64(driver)), hashPair(uint64(b.Partition), uint64(driver)))
	})
	turns := make(map[NodeID]int)
	for i := range queue {
		source := queue[i].From
		if source == 0 {
			source = r.Replicas(queue[i].Partition)[0]
		}
		queue[i].turn = turns[source]
		turns[source]++
	}
	slices.SortStableFunc(queue, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.urgency, b.urgency), cmp.Compare(a.turn, b.turn))
	})
	transfers := make([]Transfer, len(queue))
	for i := range queue {
		transfers[i] = queue[i].Transfer
	}
	return transfers
}

// urgency orders transfers by what is missing without them: the fewest living
// replicas first, then moves that only spread, then what only goes.
func (r *Ring) urgency(t Transfer) int {
	switch {
	case r.fills(t):
		return r.living(r.Replicas(t.Partition)) - 2*MaxReplicas
	case t.From == 0:
		return len(r.Replicas(t.Partition)) - MaxReplicas
	case t.To == 0:
		return 2
	}
	return 1
}

// living counts the nodes of a list that are not removed.
func (r *Ring) living(list []NodeID) (n int) {
	for _, id := range list {
		if !r.removed(id) {
			n++
		}
	}
	return n
}

// checkTransfers checks that every transfer fits the list it finds.
func (r *Ring) checkTransfers() error {
	list := make([]NodeID, 0, 2*MaxReplicas)
	for i, t := range r.Transfers {
		if int(t.Partition) >= r.Q || t.Step > Switched {
			return fmt.Errorf("transfer of partition %d at step %d is unknown", t.Partition, t.Step)
		}
		first := i == 0 || r.Transfers[i-1].Partition != t.Partition
		switch {
		case first:
			list = append(list[:0], r.Replicas(t.Partition)...)
		case t.Step != Waiting:
			return fmt.Errorf("partition %d has two transfers under way", t.Partition)
		}
		if i > 0 && r.Transfers[i-1].Partition > t.Partition {
			return errors.New("transfers out of order")
		}
		var err error
		if list, err = r.checkTransfer(t, list); err != nil {
			return fmt.Errorf("transfer of partition %d from %v to %v, %v: %w", t.Partition, t.From, t.To, t.Step, err)
		}
	}
	return nil
}

// checkTransfer checks one transfer against the list before it, and returns the
// list after it.
func (r *Ring) checkTransfer(t Transfer, list []NodeID) ([]NodeID, error) {
	for _, id := range [2]NodeID{t.From, t.To} {
		if id != 0 && r.Member(id) == nil {
			return nil, errors.New("names a node that is no member")
		}
	}
	if t.To != 0 {
		if s := r.Member(t.To).State; s == Joining || s == Removed {
			return nil, fmt.Errorf("goes to a member that is %v", s)
		}
	}
	if t.Step == Switched && !r.paired(t) || t.From == t.To || t.To == 0 && r.removed(t.From) {
		return nil, errors.New("is none")
	}
	before, after := t.From, t.To
	if entered(r, t) {
		before, after = t.To, t.From
	}
	if before != 0 && !slices.Contains(list, before) || after != 0 && slices.Contains(list, after) {
		return nil, errors.New("does not fit the table")
	}
	list = settle(r, t, list)
	if len(list) < 1 || len(list) > MaxReplicas {
		return nil, fmt.Errorf("leaves %d replicas", len(list))
	}
	return list, nil
}

// entered reports whether the table names To in the place of From already.
func entered(r *Ring, t Transfer) bool {
	return t.Step == Switched || t.Step == Copying && r.fills(t)
}

// settle returns the list as it is when the transfer is done. It may change list.
func settle(r *Ring, t Transfer, list []NodeID) []NodeID {
	switch {
	case entered(r, t):
	case t.From == 0:
		list = append(list, t.To)
	case t.To == 0:
		list = slices.DeleteFunc(list, func(id NodeID) bool { return id == t.From })
	default:
		list[slices.Index(list, t.From)] = t.To
	}
	return list
}
