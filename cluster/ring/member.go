package ring

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// NodeID names a node for as long as its data directory lives. Zero is no node.
type NodeID uint64

// String returns the id as 16 hexadecimal digits.
func (id NodeID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseNodeID reads what String returns.
func ParseNodeID(s string) (NodeID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("node id %q is not 16 hexadecimal digits", s)
	}
	return NodeID(n), nil
}

// State is a member's part in the ring. Whether its process is alive is no
// concern of the ring.
type State uint8

// The states of a member.
const (
	Active  State = iota // holds its share
	Leaving              // hands over what it holds, and then leaves
	Joining              // admitted by name; holds nothing until Commit
	Removed              // declared dead: refused by all, its places are being refilled
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"active", "leaving", "joining", "removed"}[s&3]
}

// Member is a node of the ring.
type Member struct {
	ID          NodeID
	Incarnation uint64 // with which it joined; which it is in now its peers know from the handshake (package cluster, lives)
	Name        string
	DC          string
	Rack        string  // racks of different DCs are different, whatever their names
	Weight      float64 // its share relative to the others'; zero holds nothing
	RPC         string  // addresses, host:port
	Gossip      string
	Client      string
	State       State
	// Full is the weight that the member has when its disk is not low (Relieve); zero while
	// that is Weight.
	Full float64
}

// holds reports whether the member is to hold partitions.
func (m *Member) holds() bool { return m.State == Active && m.Weight > 0 }

const (
	// MaxMembers bounds a ring. Gossip among more nodes is untried.
	MaxMembers = 1024
	// MaxText bounds each text of a member and the cluster's name.
	MaxText = 255
	// MaxWeight and MinWeight bound what one member can weigh if not 0, so that sums
	// of weights stay exact enough to compare.
	MaxWeight = 1e6
	MinWeight = 1e-6
)

// title returns what errors and notes call the member.
func (m *Member) title() string {
	if m.Name == "" {
		return "node " + m.ID.String()
	}
	return m.Name
}

// validate checks a member by itself.
func (m *Member) validate() error {
	if m.ID == 0 {
		return fmt.Errorf("member %q has no id", m.Name)
	}
	if math.IsNaN(m.Weight) || m.Weight != 0 && (m.Weight < MinWeight || m.Weight > MaxWeight) {
		return fmt.Errorf("member %s: weight %v is neither 0 nor from %v to %v", m.title(), m.Weight, MinWeight, MaxWeight)
	}
	if m.Full != 0 && !(m.Full > m.Weight && m.Full <= MaxWeight) {
		return fmt.Errorf("member %s: full weight %v at weight %v", m.title(), m.Full, m.Weight)
	}
	if m.State > Removed {
		return fmt.Errorf("member %s: unknown state %d", m.title(), m.State)
	}
	for _, text := range m.texts() {
		if len(*text) > MaxText {
			return fmt.Errorf("member %v: %.20q... is over %d bytes", m.ID, *text, MaxText)
		}
	}
	return nil
}

// texts returns the member's texts in the order of their encoding.
func (m *Member) texts() [6]*string {
	return [6]*string{&m.Name, &m.DC, &m.Rack, &m.RPC, &m.Gossip, &m.Client}
}

// sortMembers returns a copy of members in the order of their ids, checked.
func sortMembers(members []Member) ([]Member, error) {
	if len(members) > MaxMembers {
		return nil, fmt.Errorf("%d members, more than %d", len(members), MaxMembers)
	}
	sorted := slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	for i := range sorted {
		if err := sorted[i].validate(); err != nil {
			return nil, err
		}
		if i > 0 && sorted[i-1].ID == sorted[i].ID {
			return nil, fmt.Errorf("member %v is named twice", sorted[i].ID)
		}
	}
	return sorted, nil
}
