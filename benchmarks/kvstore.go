package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is one kvstore process.
type node struct {
	*process
	port  int    // of the Redis protocol
	admin string // address of its HTTP side
}

// startAgain starts a node that has ended, with its data.
func (n *node) startAgain(ctx context.Context) (*node, error) {
	p, err := startProcess(ctx, n.name, filepath.Dir(n.log), n.cmd.Path, n.cmd.Args[1:]...)
	if err != nil {
		return nil, err
	}
	return &node{process: p, port: n.port, admin: n.admin}, nil
}

// build compiles kvstore into dir. The working directory is in its module.
func build(ctx context.Context, dir string) (string, error) {
	executable := filepath.Join(dir, "kvstore")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", executable, "kvstore").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build kvstore: %w: %s", err, out)
	}
	return executable, nil
}

// startNodes starts a new cluster of count nodes with the given flags added,
// and waits until every node has all of them in its ring.
func startNodes(ctx context.Context, executable, dir string, count int, flags ...string) (nodes []*node, err error) {
	defer func() {
		if err != nil {
			stopAll(processesOf(nodes))
		}
	}()
	ports, err := freePorts(4 * count)
	if err != nil {
		return nil, err
	}
	for i := range count {
		name := fmt.Sprintf("n%d", i+1)
		own := ports[4*i:]
		args := append(slices.Clip(flags), "--cluster.gossip="+address(own[1]), "--cluster.rpc="+address(own[2]))
		if i > 0 {
			args = append(args, "--cluster.join="+address(ports[1]))
		}
		n, err := startNode(ctx, executable, name, filepath.Join(dir, name), own[0], own[3], args...)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.await(ctx, clusterTimeout, func() bool { return n.sees(ctx, count) }); err != nil {
			return nodes, err
		}
	}
	return nodes, nil
}

// startNode starts a node and does not wait for it.
func startNode(ctx context.Context, executable, name, dir string, port, admin int, flags ...string) (*node, error) {
	args := append([]string{"server", "--node.name=" + name, "--server.listen=" + address(port), "--admin.listen=" + address(admin),
		"--storage.dir=data", "--storage.fsync=everysec", "--log.level=warn"}, flags...)
	p, err := startProcess(ctx, "kvstore "+name, dir, executable, args...)
	if err != nil {
		return nil, err
	}
	return &node{process: p, port: port, admin: address(admin)}, nil
}

func processesOf(nodes []*node) (processes []*process) {
	for _, n := range nodes {
		processes = append(processes, n.process)
	}
	return processes
}

// sees reports whether n serves in a ring of count nodes, connected to all.
func (n *node) sees(ctx context.Context, count int) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var list struct {
		Ready bool
		Nodes []struct{ Member, Connected bool }
	}
	text, err := n.get(ctx, "/v1/nodes")
	if err != nil || json.Unmarshal(text, &list) != nil || !list.Ready {
		return false
	}
	connected := 0
	for _, m := range list.Nodes {
		if m.Member && m.Connected {
			connected++
		}
	}
	return connected == count
}

func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.name, path, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.name, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.name, path, err)
	}
	return body, nil
}

// allocations counts the objects that the nodes have ever allocated.
func allocations(ctx context.Context, nodes []*node) (total float64, err error) {
	for _, n := range nodes {
		text, err := n.get(ctx, "/metrics")
		if err != nil {
			return 0, err
		}
		value, err := parseMetric(string(text), "go_memstats_mallocs_total")
		if err != nil {
			return 0, fmt.Errorf("read the metrics of %s: %w", n.name, err)
		}
		total += value
	}
	return total, nil
}

// parseMetric finds a metric without labels in Prometheus' text format.
func parseMetric(text, name string) (float64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no %s", name)
}
