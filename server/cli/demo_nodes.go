package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"kvstore/config"
)

const (
	demoHost = "127.0.0.1"
	// Distances between a node's port and its other ports. They are the same for
	// all nodes, so that a demo in the same directory finds itself again, and small
	// enough to stay below the ports that systems give to outgoing connections.
	gossipDistance, rpcDistance, adminDistance = 10000, 11000, 12000
	maxDemoNodes                               = 16
)

// demoNode is where one node of a demo lives.
type demoNode struct {
	name   string
	dir    string // holds data/, log and kvstore.toml
	port   int
	config *config.Config
}

func (n *demoNode) file() string { return filepath.Join(n.dir, "kvstore.toml") }
func (n *demoNode) log() string  { return filepath.Join(n.dir, "log") }

// layOut plans a demo of count nodes under dir.
func layOut(dir string, count, port int, settings []config.Setting) ([]*demoNode, error) {
	ports, err := portsOf(dir, count, port)
	if err != nil {
		return nil, err
	}
	return planDemo(dir, ports, settings)
}

// planDemo lays out the nodes under dir, one for each of ports, all with the
// given settings besides their own, and checks that every port is free.
func planDemo(dir string, ports [][4]int, settings []config.Setting) ([]*demoNode, error) {
	nodes := make([]*demoNode, len(ports))
	for i, p := range ports {
		n := &demoNode{name: "n" + strconv.Itoa(i+1), port: p[0]}
		n.dir = filepath.Join(dir, n.name)
		own := []config.Setting{
			{Key: "node.name", Value: n.name},
			{Key: "server.listen", Value: local(p[0])},
			{Key: "cluster.gossip", Value: local(p[1])},
			{Key: "cluster.rpc", Value: local(p[2])},
			{Key: "admin.listen", Value: local(p[3])},
			{Key: "storage.dir", Value: filepath.Join(n.dir, "data")},
		}
		if i > 0 { // the first starts the cluster, the others join it
			own = append(own, config.Setting{Key: "cluster.join", Value: local(ports[0][1])})
		}
		var err error
		if n.config, err = config.Load(settings, own); err != nil {
			return nil, err
		}
		if err := checkListeners(n.config); err != nil {
			return nil, fmt.Errorf("%s: %w; or choose other ports for the demo with --port", n.name, err)
		}
		nodes[i] = n
	}
	return nodes, nil
}

func local(port int) string { return net.JoinHostPort(demoHost, strconv.Itoa(port)) }

// portsOf gives the nodes of a demo their ports: those that dir has from an
// earlier demo, whose nodes know each other by them, else those asked for.
func portsOf(dir string, count, port int) ([][4]int, error) {
	kept, err := keptPorts(dir)
	switch {
	case err != nil:
		return nil, err
	case len(kept) == 0:
		return demoPorts(count, port)
	case len(kept) != count:
		return nil, fmt.Errorf("--nodes = %d: %s has a demo of %d nodes; give --nodes=%d, or another directory with --dir", count, dir, len(kept), len(kept))
	case port != 0 && port != kept[0][0]:
		return nil, fmt.Errorf("--port = %d: %s has a demo on port %d; give --port=%d, or another directory with --dir", port, dir, kept[0][0], kept[0][0])
	}
	return kept, nil
}

// keptPorts reads the ports of the nodes that have a configuration under dir.
func keptPorts(dir string) (ports [][4]int, err error) {
	for i := range maxDemoNodes {
		n := &demoNode{dir: filepath.Join(dir, "n"+strconv.Itoa(i+1))}
		if _, err := os.Stat(n.file()); errors.Is(err, os.ErrNotExist) {
			break
		}
		settings, err := config.ReadFile(n.file())
		if err != nil {
			return nil, err
		}
		c, err := config.Load(settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.file(), err)
		}
		var p [4]int
		for j, addr := range []string{c.Server.Listen, c.Cluster.Gossip, c.Cluster.RPC, c.Admin.Listen} {
			_, port, _ := net.SplitHostPort(addr)
			p[j], _ = strconv.Atoi(port) // config has checked it
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// demoPorts gives each node its ports: clients, gossip, RPC, admin.
func demoPorts(count, port int) ([][4]int, error) {
	if count < 1 || count > maxDemoNodes {
		return nil, fmt.Errorf("--nodes = %d: out of range; allowed: 1 to %d", count, maxDemoNodes)
	}
	ports := make([][4]int, count)
	if port == 0 {
		free, err := freePorts(demoHost, 4*count)
		if err != nil {
			return nil, err
		}
		for i := range ports {
			ports[i] = [4]int(free[4*i:])
		}
		return ports, nil
	}
	if highest := 65535 - adminDistance - count + 1; port < 1 || port > highest {
		return nil, fmt.Errorf("--port = %d: out of range, the other ports are %d to %d above it; allowed: 1 to %d, or 0 for free ports", port, gossipDistance, adminDistance, highest)
	}
	for i := range ports {
		p := port + i
		ports[i] = [4]int{p, p + gossipDistance, p + rpcDistance, p + adminDistance}
	}
	return ports, nil
}

// write makes the node's directory and its configuration file, which may hold
// secrets.
func (n *demoNode) write() error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of %s: %w; choose another with --dir", n.name, err)
	}
	text := "# Written by kvstore demo, again at every start.\n" + config.File(n.config)
	if err := os.WriteFile(n.file(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", n.name, err)
	}
	return nil
}
