package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The ports of nodes, the same on every host.
const (
	clientPort = "6379"
	gossipPort = "7946"
	rpcPort    = "7947"
	adminPort  = "9121"
)

// Node is a kvstore process.
type Node struct {
	Server
	Client string // the address for clients
	Admin  string // and that of its HTTP side
}

// web gives up soon: a node that cannot be reached says nothing.
var web = http.Client{Timeout: time.Second}

// Cluster makes as many hosts, with a node on each, and starts them: a new cluster.
// Directories are in dir, one per node with its name. It returns when each node
// sees all others.
func (n *Net) Cluster(ctx context.Context, program, dir string, count int, settings ...string) ([]*Node, error) {
	var nodes []*Node
	for i := range count {
		h, err := n.Add()
		if err != nil {
			return nodes, err
		}
		node := NewNode(h, program, dir, fmt.Sprintf("n%d", i+1), nodes, settings...)
		if err := node.Start(); err != nil {
			return nodes, err
		}
		nodes = append(nodes, node)
	}
	return nodes, AwaitWhole(ctx, nodes)
}

// NewNode prepares a node on a host that is to join others, or to found a cluster where
// there are none. Its directory will be dir/name.
func NewNode(h *Host, program, dir, name string, others []*Node, settings ...string) *Node {
	node := &Node{Client: h.IP + ":" + clientPort, Admin: h.IP + ":" + adminPort}
	node.Name, node.Host, node.Dir = name, h, filepath.Join(dir, name)
	node.Command = []string{program, "server", "--node.name=" + name, "--server.listen=" + node.Client,
		"--cluster.gossip=" + h.IP + ":" + gossipPort, "--cluster.rpc=" + h.IP + ":" + rpcPort,
		"--admin.listen=" + node.Admin, "--storage.dir=" + filepath.Join(node.Dir, "data")}
	if len(others) > 0 {
		var seeds []string
		for _, o := range others {
			seeds = append(seeds, o.Host.IP+":"+gossipPort)
		}
		node.Command = append(node.Command, "--cluster.join="+strings.Join(seeds, ","))
	}
	for _, s := range settings {
		node.Command = append(node.Command, "--"+s)
	}
	return node
}

// AwaitReady waits until the node takes requests.
func (n *Node) AwaitReady(ctx context.Context) error {
	return n.Await(ctx, "it serves", func() bool {
		response, err := web.Get("http://" + n.Admin + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// AwaitWhole waits until each of the nodes is in the same ring with all of them,
// and sees all alive and connected.
func AwaitWhole(ctx context.Context, nodes []*Node) error {
	for _, n := range nodes {
		what := ""
		err := n.Await(ctx, "it sees all nodes", func() bool {
			list, err := n.list()
			if what = fmt.Sprintf("%+v", list); err != nil {
				what = err.Error()
				return false
			}
			return list.whole() == len(nodes)
		})
		if err != nil {
			return fmt.Errorf("%w; it sees %s", err, what)
		}
	}
	return nil
}

// nodeList is what a node says of all nodes, as far as it is needed here.
type nodeList struct {
	Self  string
	Ready bool
	Epoch int
	Nodes []nodeSeen
}

// nodeSeen is a node as the one that was asked sees it.
type nodeSeen struct {
	ID, Name, State   string
	Member, Connected bool
	Hints             int64 // kept by the one for the other
}

// whole counts the members that can be used.
func (l *nodeList) whole() (count int) {
	for _, n := range l.Nodes {
		if n.State == "alive" && n.Member && (n.Connected || n.ID == l.Self) {
			count++
		}
	}
	return count
}

// Sees reports whether the node has heard of another one, by its name.
func (n *Node) Sees(name string) bool {
	list, err := n.list()
	return err == nil && slices.ContainsFunc(list.Nodes, func(o nodeSeen) bool { return o.Name == name })
}

// Lost reports whether the node takes another one for dead.
func (n *Node) Lost(name string) bool {
	list, err := n.list()
	return err == nil && slices.ContainsFunc(list.Nodes, func(o nodeSeen) bool { return o.Name == name && o.State == "dead" })
}

// AwaitHanded waits until no node keeps a hint for another any more.
func AwaitHanded(ctx context.Context, nodes []*Node) error {
	for _, n := range nodes {
		what := ""
		err := n.Await(ctx, "it has handed its hints over", func() bool {
			list, err := n.list()
			if what = fmt.Sprintf("%+v", list); err != nil {
				return false
			}
			for _, other := range list.Nodes {
				if other.Hints > 0 {
					return false
				}
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("%w; it says %s", err, what)
		}
	}
	return nil
}

func (n *Node) list() (list nodeList, err error) {
	response, err := web.Get("http://" + n.Admin + "/v1/nodes")
	if err != nil {
		return list, fmt.Errorf("ask %s for its nodes: %w", n.Name, err)
	}
	defer response.Body.Close()
	return list, json.NewDecoder(response.Body).Decode(&list)
}

// Addresses are where clients reach the nodes.
func Addresses(nodes []*Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Client)
	}
	return slices.Clip(all)
}
