// Package membership knows which nodes there are and which of them can be reached.
//
// # Gossip
//
// Members wraps hashicorp/memberlist. A node's name there is its NodeID in hexadecimal, the label of every packet is the
// cluster's name, and what a node says of itself travels as its Meta: addresses, weight, and which ring it has (cluster id,
// epoch, hash), which is how news of a ring spreads. A node of another cluster is not taken in: NotifyAlive passes it over,
// and a Join with it fails. While a node belongs to no cluster its ClusterID is 0 and it is welcome everywhere. A second node
// of the same name is refused as long as the first lives; a second node with the same id is memberlist's conflict, and logged.
//
// The numbers, for up to some ten nodes (memberlist stretches them with the logarithm of more):
//
//	0 - 400 ms   until somebody probes the dead node (probeInterval)
//	400 ms       for that probe: direct for 200 ms (probeTimeout), then through others and over TCP
//	1.2 s        of suspicion, in which the node may object (suspicionMult x probeInterval); twice that while no other
//	             node shares it
//
// so a dead node is mostly known dead after 1.6 to 2 s, and one that cannot be reached for half a second is not taken for dead: it
// still hears the suspicion and objects. After a longer outage it may be told dead for the moment until it objects to that. A
// node that finds itself slow believes less of others (memberlist's awareness).
//
// A member that died is asked to join again every rejoinEvery until it answers or is forgotten, because memberlist by itself
// never looks back, and two halves of a healed network would stay apart. Seeds are asked until one has answered.
//
// Events come from one goroutine and without any lock held; of several changes of a node between two of its rounds only the
// latest is told, so Alive may follow Alive without the Dead that was between.
//
// # Tracker
//
// Gossip alone is slow and hides suspicion, a connection alone cannot tell a slow peer from a dead one. Tracker combines both:
// see its comment for the table of states. It is a pure state machine, time comes with the events. Reading a state or a
// latency takes no lock.
package membership
