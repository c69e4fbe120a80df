package command

import (
	"net"
	"slices"
	"strconv"

	"kvstore/cluster/ring"
)

// clusterView is the ring as CLUSTER NODES, SLOTS and SHARDS show it, from one
// moment.
//
// Every node is a master, because each takes any command for any key. The slots
// of a partition are shown at its soft primary, the first node of its
// preference list, and the other holders follow as replicas. That changes with the
// ring only, not with every suspicion: clients that heard of each would move their
// connections to and fro, and any other node serves them meanwhile. A node that is
// dead is left out, as Redis does, or clients that know no other way would miss its
// slots until it is back or removed.
type clusterView struct {
	nodes    []viewNode
	ranges   []heldRange
	assigned int // slots that have holders
	served   int // slots with a holder that is alive
	epoch    ring.Epoch
}

// slotRange is a run of slots, both ends included.
type slotRange struct{ first, last ring.Slot }

// heldRange is a run of slots with the same holders, as indexes of nodes: the
// soft primary first.
type heldRange struct {
	slotRange
	holders []int
}

// viewNode is a node as clients see it.
type viewNode struct {
	id        ring.NodeID
	name      string
	host      string
	port      int
	busPort   int
	state     string // alive, suspect or dead
	myself    bool
	connected bool
	heartbeat int64       // Unix milliseconds, 0 for none
	slots     []slotRange // those it is the soft primary of
}

// clusterView reads the ring and the state of its nodes.
func (c *Ctx) clusterView() *clusterView {
	r, self, statuses := c.Env.Cluster.Ring(), c.Env.Cluster.Self(), c.Env.Cluster.Nodes()
	local, _, _ := net.SplitHostPort(c.Session.LAddr)
	if r == nil {
		// Not in a ring yet: a node that knows itself only.
		alone := viewNode{id: self.ID, name: nodeName(self.ID, 0), state: stateAlive, myself: true, connected: true}
		alone.address(self, local, c.Env.Info.Port)
		return &clusterView{nodes: []viewNode{alone}}
	}
	v := &clusterView{epoch: r.Epoch}
	for _, m := range r.Members {
		n := viewNode{id: m.ID, name: nodeName(m.ID, r.ClusterID), state: stateAlive, myself: m.ID == self.ID}
		for i := range statuses {
			if s := &statuses[i]; s.ID == m.ID {
				n.state, n.connected = s.State, s.Connected
				if !s.Heartbeat.IsZero() {
					n.heartbeat = s.Heartbeat.UnixMilli()
				}
			}
		}
		if n.myself {
			n.state, n.connected = stateAlive, true
		}
		n.address(m, local, c.Env.Info.Port)
		v.nodes = append(v.nodes, n)
	}
	v.place(r)
	return v
}

const (
	stateAlive   = "alive"
	stateSuspect = "suspect"
	stateDead    = "dead"
)

// place fills the ranges and the nodes' slots from the ring's table, joining
// neighbouring partitions with the same holders. Dead ones are left out.
func (v *clusterView) place(r *ring.Ring) {
	for p := range r.Q {
		first, last := r.SlotRange(ring.Partition(p))
		var holders []int
		for _, i := range r.ReplicaIndexes(ring.Partition(p)) {
			if v.nodes[i].state != stateDead {
				holders = append(holders, int(i))
			}
		}
		slots := int(last-first) + 1
		if all := r.ReplicaIndexes(ring.Partition(p)); len(holders) > 0 {
			v.served += slots
		} else if len(all) > 0 {
			holders = []int{int(all[0])}
		} else {
			continue
		}
		v.assigned += slots
		primary := &v.nodes[holders[0]]
		primary.slots = joinRange(primary.slots, slotRange{first, last})
		if n := len(v.ranges); n > 0 && v.ranges[n-1].last+1 == first && slices.Equal(v.ranges[n-1].holders, holders) {
			v.ranges[n-1].last = last
			continue
		}
		v.ranges = append(v.ranges, heldRange{slotRange{first, last}, holders})
	}
}

// joinRange appends next to ranges, making one of it and its neighbour.
func joinRange(ranges []slotRange, next slotRange) []slotRange {
	if n := len(ranges); n > 0 && ranges[n-1].last+1 == next.first {
		ranges[n-1].last = next.last
		return ranges
	}
	return append(ranges, next)
}

// serving counts the nodes that have slots.
func (v *clusterView) serving() int {
	n := 0
	for i := range v.nodes {
		if len(v.nodes[i].slots) > 0 {
			n++
		}
	}
	return n
}

// ClientAddress is where clients of another node reach a member: by the host that
// nodes reach it by, if it listens on every interface.
func ClientAddress(m *ring.Member) string {
	host, port, err := net.SplitHostPort(m.Client)
	if err != nil || !unspecified(host) {
		return m.Client
	}
	host, _, _ = net.SplitHostPort(m.RPC)
	return net.JoinHostPort(host, port)
}

// address takes a member's addresses apart. A member that listens on every
// interface is reachable, if it is this node, where the client came to;
// otherwise at the host that other nodes reach it by. A port of 0 was chosen by
// the kernel, and only this node knows which.
func (n *viewNode) address(m ring.Member, local string, localPort int) {
	rpcHost, rpcPort, _ := net.SplitHostPort(m.RPC)
	host, port, _ := net.SplitHostPort(m.Client)
	n.host = host
	n.port, _ = strconv.Atoi(port)
	n.busPort, _ = strconv.Atoi(rpcPort)
	if n.myself && n.port == 0 {
		n.port = localPort
	}
	if unspecified(n.host) && !n.myself {
		n.host = rpcHost
	}
	if unspecified(n.host) {
		n.host = local
	}
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// appendLine appends the node's line of CLUSTER NODES:
//
//	id host:port@busport flags - ping-sent pong-received epoch link slot ...
func (n *viewNode) appendLine(dst []byte, epoch ring.Epoch) []byte {
	dst = append(dst, n.name+" "+n.host+":"+strconv.Itoa(n.port)+"@"+strconv.Itoa(n.busPort)+" "...)
	if n.myself {
		dst = append(dst, "myself,"...)
	}
	dst = append(dst, "master"...)
	switch n.state {
	case stateSuspect:
		dst = append(dst, ",fail?"...)
	case stateDead:
		dst = append(dst, ",fail"...)
	}
	dst = append(dst, " - 0 "...)
	if n.myself {
		dst = append(dst, '0')
	} else {
		dst = strconv.AppendInt(dst, n.heartbeat, 10)
	}
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(epoch), 10)
	if n.connected {
		dst = append(dst, " connected"...)
	} else {
		dst = append(dst, " disconnected"...)
	}
	for _, s := range n.slots {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, uint64(s.first), 10)
		if s.last != s.first {
			dst = append(dst, '-')
			dst = strconv.AppendUint(dst, uint64(s.last), 10)
		}
	}
	return append(dst, '\n')
}

func (n *viewNode) health() string {
	if n.state == stateDead {
		return "fail"
	}
	return "online"
}
