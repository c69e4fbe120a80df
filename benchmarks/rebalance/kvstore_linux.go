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

	"kvstore/server/admin"
	"kvstore/tests/lab"
)

// copiesOf is N by default.
const copiesOf = 3

// kvstore is three nodes, and a fourth for a while.
type kvstore struct {
	dir, program string
	settings     []string
	nodes        []*lab.Node
	join         string // gossip address of the first node
	slots        *slots // nil unless clients route
}

var web = http.Client{Timeout: 5 * time.Second}

func startKvstore(ctx context.Context, program, dir string, routes bool, settings []string) (_ system, err error) {
	k := &kvstore{dir: dir, program: program, settings: settings}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	for range threeNodes {
		if err := k.add(); err != nil {
			return nil, err
		}
	}
	if err := lab.AwaitWhole(ctx, k.nodes); err != nil {
		return nil, err
	}
	if routes {
		k.slots, err = newSlots(lab.Addresses(k.nodes))
	}
	return k, err
}

// add starts one more node, which joins.
func (k *kvstore) add() error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	n := &lab.Node{Client: loopback(ports[0]), Admin: loopback(ports[3])}
	n.Name, n.Host = fmt.Sprintf("n%d", len(k.nodes)+1), &lab.Host{}
	n.Dir = filepath.Join(k.dir, n.Name)
	n.Command = []string{k.program, "server", "--node.name=" + n.Name, "--server.listen=" + n.Client, "--admin.listen=" + n.Admin,
		"--cluster.gossip=" + loopback(ports[1]), "--cluster.rpc=" + loopback(ports[2]), "--storage.dir=" + filepath.Join(n.Dir, "data")}
	if k.join == "" {
		k.join = loopback(ports[1])
	} else {
		n.Command = append(n.Command, "--cluster.join="+k.join)
	}
	for _, s := range k.settings {
		n.Command = append(n.Command, "--"+s)
	}
	if err := n.Start(); err != nil {
		return err
	}
	k.nodes = append(k.nodes, n)
	return nil
}

func (k *kvstore) servers() (list []*lab.Server) {
	for _, n := range k.nodes {
		if n.Running() {
			list = append(list, &n.Server)
		}
	}
	return list
}

func (k *kvstore) close() {
	if k.slots != nil {
		k.slots.close()
	}
	for _, n := range k.nodes {
		n.Kill()
	}
}

func (k *kvstore) newClient(number int) requester {
	if k.slots != nil {
		return &routed{slots: k.slots, conns: map[string]*lab.Conn{}}
	}
	return newPlain(lab.Addresses(k.nodes[:threeNodes]), number)
}

// route spreads keys over the three nodes: any takes any.
// Who is away gets nothing.
func (k *kvstore) route(key string) string {
	at := int(key[len(key)-1]) % threeNodes
	for !k.nodes[at].Running() {
		at = (at + 1) % threeNodes
	}
	return k.nodes[at].Client
}

// settle waits until the nodes are level.
func (k *kvstore) settle(ctx context.Context) error {
	return lab.AwaitHanded(ctx, k.nodes[:threeNodes])
}

func (k *kvstore) grow(ctx context.Context) (c change, err error) {
	before, err := k.counted(ctx)
	if err != nil {
		return c, err
	}
	if err := k.add(); err != nil {
		return c, err
	}
	joined := k.nodes[threeNodes]
	var r *admin.Ring
	err = await(ctx, &joined.Server, "it holds its share", func() bool {
		r, err = ringOf(ctx, joined)
		return err == nil && holds(r, "n4") > 0 && k.still(ctx)
	})
	if err != nil {
		return c, err
	}
	after, err := k.counted(ctx)
	if err != nil {
		return c, err
	}
	return change{keys: after.keys - before.keys, bytes: after.bytes - before.bytes, parts: holds(r, "n4"),
		least: len(r.Partitions) * copiesOf / (threeNodes + 1), all: len(r.Partitions)}, nil
}

func (k *kvstore) shrink(ctx context.Context) (c change, err error) {
	leaving := k.nodes[threeNodes]
	r, err := ringOf(ctx, leaving)
	if err != nil {
		return c, err
	}
	c.all, c.parts, c.least = len(r.Partitions), holds(r, "n4"), holds(r, "n4")
	k.nodes = k.nodes[:threeNodes] // who stays counts
	before, err := k.counted(ctx)
	if err != nil {
		return c, err
	}
	defer leaving.Kill()
	out, err := exec.CommandContext(ctx, k.program, "cluster", "decommission", "n4", "--yes", "--admin.listen="+leaving.Admin).CombinedOutput()
	if err != nil {
		return c, fmt.Errorf("decommission: %w: %s", err, out)
	}
	err = await(ctx, &k.nodes[0].Server, "the fourth has left", func() bool { return !leaving.Running() && k.still(ctx) })
	if err != nil {
		return c, err
	}
	after, err := k.counted(ctx)
	c.keys, c.bytes = after.keys-before.keys, after.bytes-before.bytes
	return c, err
}

// absent loses the third node. The others keep what it misses as hints.
func (k *kvstore) absent(ctx context.Context) error {
	away := k.nodes[threeNodes-1]
	away.Kill()
	for _, n := range k.nodes[:threeNodes-1] {
		if err := await(ctx, &n.Server, "it takes the third for dead", func() bool { return n.Lost(away.Name) }); err != nil {
			return err
		}
	}
	return nil
}

func (k *kvstore) back(ctx context.Context) (c change, err error) {
	sent := func() (count int64, err error) {
		for _, n := range k.nodes[:threeNodes-1] {
			text, err := get(ctx, n, "/metrics")
			if err != nil {
				return 0, err
			}
			of, err := metric(text, `kvstore_hints_sent_total{node="n3"}`)
			if err != nil {
				return 0, err
			}
			count += of
		}
		return count, nil
	}
	before, err := sent()
	if err != nil {
		return c, err
	}
	if err := k.nodes[threeNodes-1].Start(); err != nil {
		return c, err
	}
	if err := errors.Join(lab.AwaitWhole(ctx, k.nodes), lab.AwaitHanded(ctx, k.nodes)); err != nil {
		return c, err
	}
	after, err := sent()
	return change{keys: after - before, parts: 1, least: 1, all: 1}, err
}

// lookEvery is how often it is asked whether a change is done: the answer is the whole
// ring, whose making takes some of the servers' time.
const lookEvery = 250 * time.Millisecond

// await waits until a condition holds, looking seldom.
func await(ctx context.Context, s *lab.Server, what string, holds func() bool) error {
	for s.Running() {
		if holds() {
			return nil
		}
		if err := pass(ctx, lookEvery); err != nil {
			return fmt.Errorf("%s: %s: %w", s.Name, what, err)
		}
	}
	return fmt.Errorf("%s has ended before %s; see %s", s.Name, what, s.Log())
}

// still reports whether nothing moves and nothing is left to be dropped, as every node
// sees it: the last one knows best, and when it is busy the others are not asked.
func (k *kvstore) still(ctx context.Context) bool {
	for _, n := range slices.Backward(k.nodes) {
		r, err := ringOf(ctx, n)
		if err != nil || len(r.Transfers) > 0 || r.Moves != nil {
			return false
		}
	}
	return true
}

// counted is what transfers have moved so far, by all nodes.
func (k *kvstore) counted(ctx context.Context) (c change, err error) {
	for _, n := range k.nodes {
		text, err := get(ctx, n, "/metrics")
		if err != nil {
			return c, err
		}
		keys, err1 := metric(text, "kvstore_transfer_keys_total")
		bytes, err2 := metric(text, "kvstore_transfer_bytes_total")
		if err := errors.Join(err1, err2); err != nil {
			return c, err
		}
		c.keys, c.bytes = c.keys+keys, c.bytes+bytes
	}
	return c, nil
}

// holds returns how many replicas a node holds.
func holds(r *admin.Ring, name string) int {
	for _, m := range r.Members {
		if m.Name == name {
			return m.Replicas
		}
	}
	return 0
}

func ringOf(ctx context.Context, n *lab.Node) (*admin.Ring, error) {
	text, err := get(ctx, n, "/v1/ring")
	if err != nil {
		return nil, err
	}
	var r admin.Ring
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("read the ring of %s: %w", n.Name, err)
	}
	return &r, nil
}

func get(ctx context.Context, n *lab.Node, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Admin+path, nil)
	if err != nil {
		return "", err
	}
	response, err := web.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", n.Name, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(body), err
}

// metric finds a metric in Prometheus' text format; the name includes its labels.
func metric(text, name string) (int64, error) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			return int64(v), err
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
