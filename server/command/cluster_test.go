package command

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kvstore/cluster/ring"
)

// shownNode is a node as a client reads it from one of the CLUSTER replies.
type shownNode struct {
	addr  string
	flags string
	slots map[int]bool
}

// readNodes parses CLUSTER NODES by the format's description.
func readNodes(t *testing.T, text string) map[string]shownNode {
	t.Helper()
	nodes := map[string]shownNode{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(f[0]) || f[3] != "-" {
			t.Fatalf("line %q", line)
		}
		addr, bus, found := strings.Cut(f[1], "@")
		if _, err := strconv.Atoi(bus); err != nil || !found {
			t.Fatalf("address %q", f[1])
		}
		n := shownNode{addr: addr, flags: f[2], slots: map[int]bool{}}
		for _, r := range f[8:] {
			first, last, isRange := strings.Cut(r, "-")
			if !isRange {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 != nil || err2 != nil {
				t.Fatalf("range %q", r)
			}
			for s := a; s <= b; s++ {
				n.slots[s] = true
			}
		}
		nodes[f[0]] = n
	}
	return nodes
}

// readSlots parses CLUSTER SLOTS into the first node of each range.
func readSlots(t *testing.T, r *reply) (nodes map[string]shownNode, holders map[int]int) {
	t.Helper()
	nodes, holders = map[string]shownNode{}, map[int]int{}
	for _, e := range r.list {
		for i, h := range e.list[2:] {
			id := h.list[2].text
			if nodes[id].slots == nil {
				nodes[id] = shownNode{addr: net.JoinHostPort(h.list[0].text, h.list[1].text), slots: map[int]bool{}}
			}
			if i > 0 {
				continue
			}
			for s := atoi(e.list[0].text); s <= atoi(e.list[1].text); s++ {
				nodes[id].slots[s] = true
				holders[s] += len(e.list) - 2
			}
		}
	}
	return nodes, holders
}

// readShards parses CLUSTER SHARDS.
func readShards(t *testing.T, r *reply) map[string]shownNode {
	t.Helper()
	fields := func(r *reply) map[string]*reply {
		m := map[string]*reply{}
		for i := 0; i < len(r.list); i += 2 {
			m[r.list[i].text] = r.list[i+1]
		}
		return m
	}
	nodes := map[string]shownNode{}
	for _, e := range r.list {
		shard := fields(e)
		node := fields(shard["nodes"].list[0])
		if node["role"].text != "master" {
			t.Errorf("role %s", node["role"])
		}
		n := shownNode{addr: net.JoinHostPort(node["ip"].text, node["port"].text), flags: node["health"].text, slots: map[int]bool{}}
		for i := 0; i < len(shard["slots"].list); i += 2 {
			for s := atoi(shard["slots"].list[i].text); s <= atoi(shard["slots"].list[i+1].text); s++ {
				n.slots[s] = true
			}
		}
		nodes[node["id"].text] = n
	}
	return nodes
}

// All three views show every slot once, at the same node, in both protocols.
func TestClusterViewsAgree(t *testing.T) {
	for _, members := range []int{1, 2, 3, 5} {
		for _, dead := range []int{0, 2} {
			if dead >= members {
				continue
			}
			for proto := uint8(2); proto <= 3; proto++ {
				t.Run(fmt.Sprintf("%d members, %d dead, RESP%d", members, dead, proto), func(t *testing.T) {
					f := newFamily(t, members)
					f.session.Proto = proto
					if dead > 0 {
						f.cluster.nodes[dead-1].State, f.cluster.nodes[dead-1].Connected = stateDead, false
					}
					checkViews(t, f, members, dead)
				})
			}
		}
	}
}

func checkViews(t *testing.T, f *family, members, dead int) {
	read := func(what string) *reply { return parseReply(t, f.do("cluster", what)) }
	nodes := readNodes(t, strings.TrimPrefix(read("nodes").text, "txt:"))
	bySlots, holders := readSlots(t, read("slots"))
	shards := readShards(t, read("shards"))
	if len(nodes) != members || len(shards) != members {
		t.Fatalf("%d nodes, %d shards, want %d", len(nodes), len(shards), members)
	}
	want := min(members, 3)
	seen := 0
	for id, n := range nodes {
		seen += len(n.slots)
		if !strings.Contains(n.flags, "master") {
			t.Errorf("flags %s", n.flags)
		}
		isDead := strings.HasPrefix(id, ring.NodeID(dead).String())
		if isDead != (n.flags == "master,fail") || isDead && len(n.slots) > 0 || isDead != (shards[id].flags == "fail") {
			t.Errorf("node %s: %s, %d slots, shard is %s", id, n.flags, len(n.slots), shards[id].flags)
		}
		if shards[id].addr != n.addr || len(n.slots) > 0 && bySlots[id].addr != n.addr {
			t.Errorf("addresses %s, %s, %s", n.addr, bySlots[id].addr, shards[id].addr)
		}
		for s := range n.slots {
			if !bySlots[id].slots[s] || !shards[id].slots[s] {
				t.Fatalf("slot %d of %s is elsewhere in another view", s, id)
			}
			p := f.cluster.ring.OfSlot(ring.Slot(s))
			holds := want
			if dead > 0 && f.cluster.ring.Holds(p, ring.NodeID(dead)) {
				holds--
			}
			if holders[s] != holds {
				t.Fatalf("slot %d has %d holders, want %d", s, holders[s], holds)
			}
			if first := f.cluster.ring.Replicas(p)[0]; first != ring.NodeID(dead) && !strings.HasPrefix(id, first.String()) {
				t.Fatalf("slot %d is shown at %s, its first node is %s", s, id, first)
			}
		}
	}
	if seen != ring.Slots || len(holders) != ring.Slots {
		t.Errorf("%d slots in NODES, %d in SLOTS", seen, len(holders))
	}
}

// Suspicion moves no slots: the ring does, and death.
func TestSuspicionMovesNoSlots(t *testing.T) {
	f := newFamily(t, 3)
	before := string(f.do("cluster", "slots"))
	f.cluster.nodes[1].State, f.cluster.nodes[1].Connected = stateSuspect, false
	if after := string(f.do("cluster", "slots")); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for id, n := range readNodes(t, strings.TrimPrefix(parseReply(t, f.do("cluster", "nodes")).text, "txt:")) {
		if isSuspect := strings.HasPrefix(id, ring.NodeID(2).String()); isSuspect != (n.flags == "master,fail?") || len(n.slots) == 0 {
			t.Errorf("%s %s has %d slots", id, n.flags, len(n.slots))
		}
	}
}

func TestClientAddress(t *testing.T) {
	for _, c := range []struct{ client, rpc, want string }{
		{"10.0.0.1:6379", "10.0.0.1:7947", "10.0.0.1:6379"},
		{"0.0.0.0:6379", "10.0.0.1:7947", "10.0.0.1:6379"},
		{"[::]:6379", "[fe80::1]:7947", "[fe80::1]:6379"},
		{"node1:6379", "10.0.0.1:7947", "node1:6379"},
	} {
		if got := ClientAddress(&ring.Member{Client: c.client, RPC: c.rpc}); got != c.want {
			t.Errorf("%s, nodes at %s: %s, want %s", c.client, c.rpc, got, c.want)
		}
	}
}

func TestClusterInfo(t *testing.T) {
	f := newFamily(t, 3)
	const want = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n" +
		"cluster_known_nodes:3\r\ncluster_size:3\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\n" +
		"cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
	if got := parseReply(t, f.do("cluster", "info")).text; got != want {
		t.Errorf("got %q", got)
	}
	f = newFamily(t, 0)
	got := parseReply(t, f.do("cluster", "info")).text
	for _, line := range []string{"cluster_state:fail\r\n", "cluster_slots_assigned:0\r\n", "cluster_known_nodes:1\r\n", "cluster_size:0\r\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("without a ring there is no %q in %q", line, got)
		}
	}
	f.script("cluster slots => *0")
	if nodes := readNodes(t, parseReply(t, f.do("cluster", "nodes")).text); len(nodes) != 1 {
		t.Errorf("without a ring: %v", nodes)
	}
}

func TestClusterWords(t *testing.T) {
	f := newFamily(t, 3)
	f.do("set", "{foo}1", "x")
	id := "0000000000000001" + "8123456789abcdef"
	if got := parseReply(t, f.do("cluster", "myid")).text; len(got) != 40 || !strings.HasPrefix(got, id) {
		t.Errorf("MYID %s", got)
	}
	f.script(`
		cluster keyslot foo => :12182
		cluster keyslot {foo}bar => :12182
		cluster keyslot => -ERR wrong number of arguments for 'cluster|keyslot' command
		cluster countkeysinslot 12 => :12
		cluster countkeysinslot 16384 => -ERR Invalid slot
		cluster countkeysinslot -1 => -ERR Invalid slot
		cluster countkeysinslot x => -ERR value is not an integer or out of range
		cluster getkeysinslot 12182 10 => *1 $6 {foo}1
		cluster getkeysinslot 12182 0 => *0
		cluster getkeysinslot 12182 -1 => -ERR Invalid slot or number of keys
		cluster getkeysinslot 99999 1 => -ERR Invalid slot or number of keys
		cluster getkeysinslot 1 x => -ERR value is not an integer or out of range
		cluster what => -ERR unknown subcommand 'what'. Try CLUSTER HELP.
		cluster => -ERR wrong number of arguments for 'cluster' command
		readonly => +OK
		readwrite => +OK
		readonly x => -ERR wrong number of arguments for 'readonly' command
	`)
	names := nodeName(2, testClusterID)
	f.cluster.nodes[2].Connected = false
	f.script("cluster links => *1 *6 $9 direction $2 to $4 node $40 " + names + " $6 events $2 rw")
}

// Clients are told an address that they can reach.
func TestClusterAddresses(t *testing.T) {
	for _, c := range []struct {
		name, client string
		myself       bool
		want         string
	}{
		{"as configured", "10.0.0.1:6379", true, "10.0.0.1:6379"},
		{"on every interface, here", "0.0.0.0:6379", true, "192.168.1.9:6379"},
		{"on every interface of both families, here", "[::]:6379", true, "192.168.1.9:6379"},
		{"no host, here", ":6379", true, "192.168.1.9:6379"},
		{"a port from the kernel", "127.0.0.1:0", true, "127.0.0.1:7001"},
		{"on every interface, elsewhere", "0.0.0.0:6379", false, "10.0.0.1:6379"},
		{"a name", "db1.example:6379", false, "db1.example:6379"},
		{"six", "[fe80::1]:6379", false, "fe80::1:6379"},
	} {
		m := testMember(1)
		m.Client = c.client
		n := viewNode{myself: c.myself}
		n.address(m, "192.168.1.9", 7001)
		if got := n.host + ":" + strconv.Itoa(n.port); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNodeNames(t *testing.T) {
	seen := map[string]bool{}
	for id := range ring.NodeID(20) {
		for cluster := range uint64(20) {
			name := nodeName(id, cluster)
			if len(name) != 40 || seen[name] {
				t.Fatalf("name %q", name)
			}
			seen[name] = true
		}
	}
}
