package command

import (
	"context"
	"strconv"

	"github.com/tidwall/redcon"

	"kvstore/cluster/ring"
	"kvstore/resp"
)

// clusterCommands show the ring to clients of Redis Cluster.
func clusterCommands() []*Command {
	cluster := &Command{
		Name: "cluster", Arity: -2, Since: "3.0.0", Complexity: "Depends on subcommand.",
		Summary: "Contains the commands on the ring, as clients of Redis Cluster read it.",
		Sub:     append(clusterViewCommands(), clusterSlotCommands()...),
	}
	all := []*Command{
		cluster,
		{
			Name: "readonly", Arity: 1, Flags: Loading | Stale | Fast, Since: "3.0.0", Complexity: "O(1)", Categories: CatConnection,
			Summary: "Accepted: every node serves reads of every key.",
			Local:   func(c *Ctx) { c.Session.ReadOnly = true; c.OK() },
		},
		{
			Name: "readwrite", Arity: 1, Flags: Loading | Stale | Fast, Since: "3.0.0", Complexity: "O(1)", Categories: CatConnection,
			Summary: "Takes READONLY back.",
			Local:   func(c *Ctx) { c.Session.ReadOnly = false; c.OK() },
		},
		{
			Name: "asking", Arity: 1, Flags: Fast, Since: "3.0.0", Complexity: "O(1)", Categories: CatConnection,
			Summary: "Has the next command with keys served here, though routing is redirect and another node holds them.",
			Local:   func(c *Ctx) { c.Session.Asking = true; c.OK() },
		},
	}
	for _, c := range all {
		inFamily(c, GroupCluster, 0)
	}
	return all
}

// clusterViewCommands show the nodes and what they hold.
func clusterViewCommands() []*Command {
	const flags = Loading | Stale
	tips := []string{"nondeterministic_output"}
	return []*Command{
		{
			Name: "info", Arity: 2, Flags: flags, Since: "3.0.0", Complexity: "O(1)", Tips: tips,
			Summary: "Returns the state of the cluster.",
			Local:   runClusterInfo,
		},
		{
			Name: "nodes", Arity: 2, Flags: flags, Since: "3.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of partitions",
			Summary:    "Returns the nodes and the slots each serves.",
			Local:      runClusterNodes,
		},
		{
			Name: "slots", Arity: 2, Flags: flags, Since: "3.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of partitions",
			History:    []Change{{"4.0.0", "Shows ids."}, {"7.0.0", "Shows what other addresses a node has."}},
			Summary:    "Returns ranges of slots with the nodes that hold them.",
			Local:      runClusterSlots,
		},
		{
			Name: "shards", Arity: 2, Flags: flags, Since: "7.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of partitions",
			Summary:    "Returns the nodes with the ranges of slots each serves.",
			Local:      runClusterShards,
		},
		{
			Name: "links", Arity: 2, Flags: flags, Since: "7.0.0", Tips: tips,
			Complexity: "O(N) where N is the number of nodes",
			Summary:    "Returns the connections to other nodes.",
			Local:      runClusterLinks,
		},
	}
}

// clusterSlotCommands are about single slots, and this node.
func clusterSlotCommands() []*Command {
	const flags = Loading | Stale
	return []*Command{
		{
			Name: "myid", Arity: 2, Flags: flags, Since: "3.0.0", Complexity: "O(1)",
			Summary: "Returns the id of this node.",
			Local:   func(c *Ctx) { c.BulkString(c.nodeName(c.Env.Cluster.Self().ID)) },
		},
		{
			Name: "keyslot", Arity: 3, Flags: flags, Since: "3.0.0",
			Complexity: "O(N) where N is the number of bytes in the key",
			Summary:    "Returns the slot of a key.",
			Args:       []Arg{stringArg("key")},
			Local:      func(c *Ctx) { c.Int(int64(ring.SlotOf(c.Args[2]))) },
		},
		{
			Name: "countkeysinslot", Arity: 3, Flags: flags, Since: "3.0.0",
			Complexity: "O(N) where N is the number of keys in the slot",
			Summary:    "Returns the number of keys in a slot.",
			Args:       []Arg{integerArg("slot")},
			Wait:       runCountKeysInSlot,
		},
		{
			Name: "getkeysinslot", Arity: 4, Flags: flags, Since: "3.0.0",
			Complexity: "O(N) where N is the number of keys asked for",
			Tips:       []string{"nondeterministic_output"},
			Summary:    "Returns some keys of a slot, of the connection's database.",
			Args:       []Arg{integerArg("slot"), integerArg("count")},
			Wait:       runGetKeysInSlot,
		},
		{
			Name: "help", Arity: 2, Flags: flags, Since: "5.0.0", Complexity: "O(1)",
			Summary: "Explains the subcommands.",
			Local:   runClusterHelp,
		},
	}
}

func runClusterHelp(c *Ctx) {
	c.help("CLUSTER",
		"COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>.",
		"GETKEYSINSLOT <slot> <count>", "    Return key names in a slot.",
		"INFO", "    Return information about the cluster.",
		"KEYSLOT <key>", "    Return the hash slot for <key>.",
		"MYID", "    Return the node id.",
		"NODES", "    Return cluster configuration seen by node. Output format:",
		"    <id> <ip:port@cport> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
		"SLOTS", "    Return information about slots range mappings. Each range is made of:",
		"    start, end, master and replicas IP addresses, ports and ids",
		"SHARDS", "    Return information about slot range mappings and the nodes associated with them.",
		"LINKS", "    Return information about all network links between this node and its peers.",
		"    Output format is an array where each array element is a map containing attributes of a link")
}

// parseSlot reads a slot, or replies what is wrong with it.
func (c *Ctx) parseSlot(word []byte, complaint string) (int, bool) {
	slot, ok := resp.ParseInt64(word)
	switch {
	case !ok:
		c.Error(resp.ErrTextNotInteger)
	case slot < 0 || slot >= ring.Slots:
		c.Error(complaint)
		return 0, false
	}
	return int(slot), ok
}

func runCountKeysInSlot(ctx context.Context, c *Ctx) {
	slot, ok := c.parseSlot(c.Args[2], "ERR Invalid slot")
	if !ok {
		return
	}
	n, err := c.Env.Cluster.CountKeysInSlot(ctx, slot)
	if err != nil {
		c.Err = err
		return
	}
	c.Int(n)
}

// maxKeysInSlot bounds the reply of GETKEYSINSLOT, which is built in memory.
const maxKeysInSlot = 1 << 16

func runGetKeysInSlot(ctx context.Context, c *Ctx) {
	const complaint = "ERR Invalid slot or number of keys"
	slot, ok := c.parseSlot(c.Args[2], complaint)
	if !ok {
		return
	}
	limit, ok := resp.ParseInt64(c.Args[3])
	switch {
	case !ok:
		c.Error(resp.ErrTextNotInteger)
		return
	case limit < 0:
		c.Error(complaint)
		return
	}
	want := int(min(limit, maxKeysInSlot))
	var body []byte
	n := 0
	for q := (ScanQuery{DB: c.Session.DB, Slot: slot, Levels: c.levels()}); n < want; {
		q.Count = want - n
		page, err := c.Env.Cluster.Scan(ctx, q)
		if err != nil {
			c.Err = err
			return
		}
		for _, key := range page.Keys[:min(len(page.Keys), want-n)] {
			body = redcon.AppendBulk(body, key)
			n++
		}
		if q.Cursor = page.Cursor; q.Cursor == 0 {
			break
		}
	}
	c.Array(n)
	c.Out = append(c.Out, body...)
}

func runClusterInfo(c *Ctx) {
	view := c.clusterView()
	state, served := "ok", view.served
	if c.Env.Cluster.Ready() != nil {
		state = "fail"
	}
	var w infoWriter
	w.line("cluster_state", state)
	w.number("cluster_slots_assigned", int64(view.assigned))
	w.number("cluster_slots_ok", int64(served))
	w.number("cluster_slots_pfail", 0)
	w.number("cluster_slots_fail", int64(view.assigned-served))
	w.number("cluster_known_nodes", int64(len(view.nodes)))
	w.number("cluster_size", int64(view.serving()))
	w.number("cluster_current_epoch", int64(view.epoch))
	w.number("cluster_my_epoch", int64(view.epoch))
	w.number("cluster_stats_messages_sent", 0)
	w.number("cluster_stats_messages_received", 0)
	w.number("total_cluster_links_buffer_limit_exceeded", 0)
	c.Out = resp.AppendVerbatim(c.Out, c.Session.Proto, "txt", string(w.text))
}

// runClusterLinks lists the connections to peers. What Redis tells beside these
// fields, times and sizes of its buffers, belongs to a bus that is not here.
func runClusterLinks(c *Ctx) {
	self := c.Env.Cluster.Self().ID
	var peers []string
	for _, n := range c.Env.Cluster.Nodes() {
		if n.Connected && n.ID != self {
			peers = append(peers, c.nodeName(n.ID))
		}
	}
	c.Array(len(peers))
	for _, name := range peers {
		c.Map(3)
		for _, word := range []string{"direction", "to", "node", name, "events", "rw"} {
			c.BulkString(word)
		}
	}
}

func runClusterNodes(c *Ctx) {
	view := c.clusterView()
	var text []byte
	for i := range view.nodes {
		text = view.nodes[i].appendLine(text, view.epoch)
	}
	c.Out = resp.AppendVerbatim(c.Out, c.Session.Proto, "txt", string(text))
}

func runClusterSlots(c *Ctx) {
	view := c.clusterView()
	c.Array(len(view.ranges))
	for _, r := range view.ranges {
		c.Array(2 + len(r.holders))
		c.Int(int64(r.first))
		c.Int(int64(r.last))
		for _, i := range r.holders {
			n := &view.nodes[i]
			c.Array(4)
			c.BulkString(n.host)
			c.Int(int64(n.port))
			c.BulkString(n.name)
			c.Map(0) // no other addresses
		}
	}
}

func runClusterShards(c *Ctx) {
	view := c.clusterView()
	c.Array(len(view.nodes))
	for i := range view.nodes {
		n := &view.nodes[i]
		c.Map(2)
		c.BulkString("slots")
		c.Array(2 * len(n.slots))
		for _, s := range n.slots {
			c.Int(int64(s.first))
			c.Int(int64(s.last))
		}
		c.BulkString("nodes")
		c.Array(1)
		c.Map(7)
		c.BulkString("id")
		c.BulkString(n.name)
		c.BulkString("port")
		c.Int(int64(n.port))
		c.BulkString("ip")
		c.BulkString(n.host)
		c.BulkString("endpoint")
		c.BulkString(n.host)
		c.BulkString("role")
		c.BulkString("master")
		c.BulkString("replication-offset")
		c.Int(0)
		c.BulkString("health")
		c.BulkString(n.health())
	}
}

// nodeName writes a node's id as clients of Redis Cluster expect it: 40
// hexadecimal digits, of which the first 16 are the id. The rest comes from the
// cluster's id, so that nodes of different clusters never share a name.
func (c *Ctx) nodeName(id ring.NodeID) string {
	var clusterID uint64
	if r := c.Env.Cluster.Ring(); r != nil {
		clusterID = r.ClusterID
	}
	return nodeName(id, clusterID)
}

func nodeName(id ring.NodeID, clusterID uint64) string {
	const golden = 0x9e3779b97f4a7c15
	filler := strconv.FormatUint(clusterID|1<<63, 16) + strconv.FormatUint(clusterID*golden>>32|1<<31, 16)
	return id.String() + filler
}
