package admin

import "time"

// NodeList is GET and POST /v1/nodes.
type NodeList struct {
	Cluster    string  `json:"cluster"`
	ClusterID  string  `json:"cluster_id"`
	Self       string  `json:"self"`
	Process    int     `json:"process"`
	Version    string  `json:"version"`
	Ready      bool    `json:"ready"`
	Reason     string  `json:"reason,omitempty"`
	Clock      string  `json:"clock,omitempty"`   // why the node's clock is likely to be wrong
	Filling    int     `json:"filling,omitempty"` // partitions of the node that others are filling
	Refill     *Refill `json:"refill,omitempty"`  // how far they are; absent when nothing is filled
	Unsettled  int     `json:"unsettled"`         // partitions that others may have written without the node
	Epoch      uint64  `json:"epoch"`
	Partitions int     `json:"partitions"`
	Nodes      []Node  `json:"nodes"`
}

// Refill is how far other replicas have filled the node's copies.
type Refill struct {
	Partitions  int     `json:"partitions"` // begun
	Done        int     `json:"done"`       // of them
	Percent     int     `json:"percent"`
	Keys        int64   `json:"keys"` // taken over
	Bytes       int64   `json:"bytes"`
	Seconds     float64 `json:"seconds"`      // since it began
	SecondsLeft float64 `json:"seconds_left"` // an estimate, 0 while there is none
}

// Node is one node as the answering node sees it.
type Node struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Gossip    string    `json:"gossip"`
	RPC       string    `json:"rpc"`
	DC        string    `json:"dc"`
	Rack      string    `json:"rack"`
	Weight    float64   `json:"weight"`
	State     string    `json:"state"`
	Member    bool      `json:"member"`
	Connected bool      `json:"connected"`
	Heartbeat time.Time `json:"heartbeat,omitzero"`
	Epoch     uint64    `json:"epoch"`
	Replicas  int       `json:"replicas"`
	Primaries int       `json:"primaries"`
	// What the node that was asked keeps for this one, which missed it.
	Hints        int64  `json:"hints"`
	HintBytes    int64  `json:"hint_bytes"`
	HintsDropped uint64 `json:"hints_dropped"`
}

// Ring is GET /v1/ring.
type Ring struct {
	ClusterID  string      `json:"cluster_id"`
	Epoch      uint64      `json:"epoch"`
	Slots      int         `json:"slots"`
	Members    []Node      `json:"members"`
	Partitions []Partition `json:"partitions"`
	Transfers  []Transfer  `json:"transfers,omitempty"`
	Moves      *Moves      `json:"moves,omitempty"`
}

// Transfer is a replica on its way from one node to another, the next step of the ring
// that names it.
type Transfer struct {
	Partition int    `json:"partition"`
	From      string `json:"from,omitempty"` // a node's id; absent when the partition gets one replica more
	To        string `json:"to,omitempty"`   // absent when it gets one fewer
	Step      string `json:"step"`           // waiting, copying or switched
}

// Moves is how far the node that was asked is with the transfers that it drives.
type Moves struct {
	Paused       bool    `json:"paused"`
	Waiting      int     `json:"waiting"`
	Moving       int     `json:"moving"`
	Keys         int64   `json:"keys"` // of those moving
	AllKeys      int64   `json:"all_keys"`
	Bytes        int64   `json:"bytes"`
	AllBytes     int64   `json:"all_bytes"`
	BytesASecond float64 `json:"bytes_a_second"`
	SecondsLeft  float64 `json:"seconds_left"` // 0 when that is not known
	Dropping     int     `json:"dropping"`     // partitions that have left and are still here
	Reason       string  `json:"reason,omitempty"`
}

// Partition is one row of a Ring.
type Partition struct {
	Partition int      `json:"partition"`
	FirstSlot int      `json:"first_slot"`
	LastSlot  int      `json:"last_slot"`
	Replicas  []string `json:"replicas"`
}

// problem is the body of every answer that is not a success.
type problem struct {
	Error string `json:"error"`
}
