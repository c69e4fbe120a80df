// Package operating does with real nodes what docs/operating.md walks an operator
// through, while a client writes unique values and reads what was acknowledged: a
// backup of one node, put back into its cluster; backups of all nodes, of which a
// whole cluster is made again; the restart of one node after another, as an upgrade
// does it; and nodes that speak TLS to each other.
//
// The client writes to any node that answers, and goes to the next when its
// connection is closed; nothing else may go wrong for it.
package operating
