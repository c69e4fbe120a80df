package cli

import (
	"kvstore/cluster/ring"
	"kvstore/server/command"
)

// router is what redirect has to know of a node.
type router interface {
	Ring() *ring.Ring
	Self() ring.Member
	State(id ring.NodeID) string
}

// redirect tells clients that know Redis Cluster where a key lives: here, when
// this node holds a replica, else with the first replica that is not dead, which is
// what CLUSTER SLOTS shows. When all are dead, the error is ours to give.
func redirect(n router) func(key []byte) (slot int, addr string) {
	return func(key []byte) (int, string) {
		slot := ring.SlotOf(key)
		r := n.Ring()
		if r == nil {
			return int(slot), ""
		}
		p := r.OfSlot(slot)
		if r.Holds(p, n.Self().ID) {
			return int(slot), ""
		}
		for _, id := range r.Replicas(p) {
			if n.State(id) != "dead" {
				return int(slot), command.ClientAddress(r.Member(id))
			}
		}
		return int(slot), ""
	}
}
