package cli

import (
	"kvstore/cluster"
	"kvstore/server/admin"
)

// clusterSampler shows requests and the ring.
func clusterSampler(n *cluster.Node) admin.Sampler {
	return func(emit func(admin.Sample)) {
		gauge := func(name, help string, v float64, labels ...string) {
			emit(admin.Sample{Name: "kvstore_" + name, Help: help, Kind: admin.Gauge, Value: v, Labels: labels})
		}
		m := n.Requests()
		for _, c := range []struct {
			name, help string
			value      uint64
		}{
			{"requests_writes_total", "Writes coordinated here.", m.Writes.Load()},
			{"requests_reads_total", "Reads coordinated here.", m.Reads.Load()},
			{"requests_forwarded_total", "Writes sent to another soft primary.", m.Forwards.Load()},
			{"requests_served_total", "Requests of other nodes on keys.", m.Served.Load()},
			{"requests_noquorum_total", "Requests refused because too few replicas were reachable.", m.NoQuorum.Load()},
			{"requests_timeout_total", "Requests not answered by enough replicas in time.", m.Timeouts.Load()},
			{"requests_overloaded_total", "Requests refused because a queue was full.", m.Overloaded.Load()},
			{"requests_failed_total", "Requests that ended in another error.", m.Failed.Load()},
			{"stale_writes_total", "Writes run again because a replica held something unseen.", m.StaleWrites.Load()},
			{"quorum_first_writes_total", "Writes that read a quorum first.", m.QuorumFirst.Load()},
			{"read_repairs_total", "Replicas brought level by a read.", m.Repairs.Load()},
			{"silent_forwards_total", "Writes forwarded to a node that fell silent altogether, and given up with an unknown outcome.", m.Mute.Load()},
			{"relayed_total", "Objects passed on within the data centre for a node of another one.", m.Relayed.Load()},
			{"unrelayed_total", "Objects sent over a link directly because who was to pass them on there had not answered.", m.Unrelayed.Load()},
			{"rerouted_total", "Requests that began again because the ring had changed, unseen by their clients.", m.Rerouted.Load()},
			{"renewed_writes_total", "Stored writes whose acknowledgements were counted anew because the ring had changed.", m.Renewed.Load()},
			{"hedged_reads_total", "Reads asked of one more replica.", m.Hedges.Load()},
			{"contexts_bounded_total", "Context entries dropped for their number.", m.ContextsBounded.Load()},
			{"clocks_ahead_total", "Messages refused because their clock was too far ahead.", m.ClocksAhead.Load()},
			{"corrupt_reads_total", "Reads that met damaged bytes.", m.CorruptReads.Load()},
			{"stand_ins_total", "Objects given to a fallback in place of a replica that was away.", m.StandIns.Load()},
			{"read_stand_ins_total", "Reads asked of a fallback in place of a replica.", m.ReadStandIns.Load()},
			{"spread_reads_total", "Reads of hot keys that were spread over their replicas.", m.SpreadReads.Load()},
		} {
			emit(admin.Sample{Name: "kvstore_" + c.name, Help: c.help, Value: float64(c.value)})
		}
		hotGauges(n, gauge)
		gauge("requests_waiting", "Requests waiting for other nodes.", float64(n.Waiting()))
		strained := 0.0
		if n.Strained() {
			strained = 1
		}
		gauge("strained", "1 while the node gets too little processor time and others are preferred to it.", strained)
		ready := 0.0
		if n.Ready() == nil {
			ready = 1
		}
		gauge("ready", "1 when the node is in a ring and serves.", ready)
		slow := 0.0
		if n.SlowDisk() {
			slow = 1
		}
		gauge("disk_slow", "1 while the node takes its disk for slow, and others are preferred to it.", slow)
		free, stored := n.DiskRoom()
		gauge("disk_free_bytes", "What is free on the node's disk.", float64(free))
		gauge("disk_stored_bytes", "What the node has stored on its disk.", float64(stored))
		emit(admin.Sample{Name: "kvstore_auto_weight_changes_total", Help: "Changes of the node's weight for its disk's sake.", Value: float64(n.Relieved())})
		if r := n.Ring(); r != nil {
			if m := r.Member(n.Self().ID); m != nil {
				part := 1.0
				if m.Full > 0 {
					part = m.Weight / m.Full
				}
				gauge("auto_weight_part", "The part of its share that the node takes: less than 1 while its disk is low.", part)
			}
			gauge("ring_epoch", "Epoch of the ring.", float64(r.Epoch))
		}
		for _, h := range n.Hints() {
			to := n.NameOf(h.Target)
			gauge("hints", "Keys kept for a node that missed them.", float64(h.Count), "node", to)
			gauge("hint_bytes", "Bytes of those keys and their values, as they were missed.", float64(h.Bytes), "node", to)
			emit(admin.Sample{Name: "kvstore_hints_sent_total", Help: "Hints that ended because the node has the key.", Value: float64(h.Sent), Labels: []string{"node", to}})
			emit(admin.Sample{Name: "kvstore_hints_dropped_total", Help: "Hints not kept, for their number or their age: comparing replicas has to find what is missing.", Value: float64(h.Dropped), Labels: []string{"node", to}})
		}
		states := map[string]int{"alive": 0, "suspect": 0, "dead": 0}
		for _, member := range n.Nodes() {
			states[member.State]++
		}
		for state, count := range states {
			gauge("nodes", "Nodes by state, as this node sees them.", float64(count), "state", state)
		}
	}
}
