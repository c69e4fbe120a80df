package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kvstore/cluster/ring"
	"kvstore/tests/lab"
)

const (
	redisPort   = "6379"
	redisCount  = 6
	wholeWithin = 5 * time.Second
)

// redis is a Redis Cluster: the first three servers are masters at the beginning.
type redis struct{ servers []*lab.Server }

// redisWith starts a Redis Cluster with a node timeout.
func redisWith(timeout time.Duration) func(context.Context, *lab.Net, string, string) (system, error) {
	return func(ctx context.Context, n *lab.Net, _, dir string) (system, error) {
		r := &redis{}
		if err := r.start(ctx, n, dir, timeout); err != nil {
			r.close()
			return nil, err
		}
		return r, nil
	}
}

func (r *redis) start(ctx context.Context, n *lab.Net, dir string, timeout time.Duration) error {
	create := []string{"--cluster", "create"}
	for i := range redisCount {
		h, err := n.Add()
		if err != nil {
			return err
		}
		s := &lab.Server{Name: fmt.Sprintf("redis-%d", i+1), Host: h}
		s.Dir = filepath.Join(dir, s.Name)
		s.Command = []string{"redis-server", "--port", redisPort, "--bind", h.IP, "--protected-mode", "no", "--save", "", "--appendonly", "yes",
			"--cluster-enabled", "yes", "--cluster-node-timeout", strconv.FormatInt(timeout.Milliseconds(), 10)}
		if err := s.Start(); err != nil {
			return err
		}
		r.servers = append(r.servers, s)
		create = append(create, r.address(i))
		if err := s.Await(ctx, "it answers", func() bool { return r.ask(i, "ping") == "PONG" }); err != nil {
			return err
		}
	}
	create = append(create, "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.CommandContext(ctx, "redis-cli", create...).CombinedOutput(); err != nil {
		return fmt.Errorf("create the Redis Cluster: %w: %s", err, out)
	}
	return r.whole(ctx)
}

func (r *redis) address(i int) string { return r.servers[i].Host.IP + ":" + redisPort }

// ask returns the text of a reply, empty when there is none.
func (r *redis) ask(i int, command ...string) string {
	c, err := lab.Dial(r.address(i), wholeWithin)
	if err != nil {
		return ""
	}
	defer c.Close()
	reply, err := c.Do(wholeWithin, command...)
	if err != nil {
		return ""
	}
	return reply.Text
}

func (r *redis) close() {
	for _, s := range r.servers {
		s.Kill()
	}
}

func (r *redis) victim() *lab.Server { return r.servers[0] }

// prepare lets the victim's replica take over.
func (r *redis) prepare(ctx context.Context) error {
	for i := range r.servers {
		if info := r.ask(i, "info", "replication"); strings.Contains(info, "role:slave") && strings.Contains(info, "master_host:"+r.servers[0].Host.IP+"\r") {
			if answer := r.ask(i, "cluster", "failover"); answer != "OK" {
				return fmt.Errorf("CLUSTER FAILOVER: %q", answer)
			}
			return r.servers[i].Await(ctx, "it is the master", func() bool {
				return strings.Contains(r.ask(i, "info", "replication"), "role:master")
			})
		}
	}
	return errors.New("the first master has no replica")
}

// whole waits until every server sees all slots served, every replica follows its
// master, and there are three of each.
func (r *redis) whole(ctx context.Context) error {
	for i, s := range r.servers {
		err := s.Await(ctx, "it is in the cluster", func() bool {
			info, replication := r.ask(i, "cluster", "info"), r.ask(i, "info", "replication")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") &&
				(strings.Contains(replication, "master_link_status:up") || strings.Contains(replication, "state=online"))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *redis) newClient(number int) requester {
	c := &routed{conns: map[string]*lab.Conn{}, at: number}
	for i := range r.servers {
		c.seeds = append(c.seeds, r.address(i))
	}
	return c
}

// routed is a client that sends each request to the master of its slot.
type routed struct {
	seeds   []string
	at      int // of the next seed
	conns   map[string]*lab.Conn
	masters [ring.Slots]string
	known   bool
}

func (c *routed) String() string { return "slot" }

func (c *routed) close() {
	for address := range c.conns {
		c.drop(address)
	}
}

func (c *routed) drop(address string) {
	if conn := c.conns[address]; conn != nil {
		conn.Close()
		delete(c.conns, address)
	}
}

func (c *routed) do(args ...string) (reply lab.Reply, err error) {
	if !c.known {
		if err := c.learn(""); err != nil {
			return reply, err
		}
	}
	address := c.masters[ring.SlotOf([]byte(args[1]))]
	for range 3 { // a redirection or two
		if reply, err = c.send(address, args...); err != nil {
			_ = c.learn(address) // the map may be old; without a new one the old one stays
			return reply, err
		}
		if !reply.Is("MOVED") {
			break
		}
		address = reply.Text[strings.LastIndexByte(reply.Text, ' ')+1:]
		c.known = false
	}
	if reply.Error {
		err = errors.New(reply.Text)
		_ = c.learn("") // as above
	}
	return reply, err
}

func (c *routed) send(address string, args ...string) (reply lab.Reply, err error) {
	conn := c.conns[address]
	if conn == nil {
		if conn, err = lab.Dial(address, dialWithin); err != nil {
			return reply, err
		}
		c.conns[address] = conn
	}
	if reply, err = conn.Do(replyWithin, args...); err != nil {
		c.drop(address)
	}
	return reply, err
}

// learn asks servers for the slots, but not the one that has failed.
func (c *routed) learn(failed string) error {
	for range c.seeds {
		address := c.seeds[c.at%len(c.seeds)]
		if address == failed {
			c.at++
			continue
		}
		reply, err := c.send(address, "cluster", "slots")
		if err != nil || reply.Error {
			c.at++
			continue
		}
		for _, r := range reply.Items {
			first, _ := strconv.Atoi(r.Items[0].Text) // numbers, by the protocol
			last, _ := strconv.Atoi(r.Items[1].Text)
			for slot := first; slot <= last; slot++ {
				c.masters[slot] = r.Items[2].Items[0].Text + ":" + r.Items[2].Items[1].Text
			}
		}
		c.known = true
		return nil
	}
	return errors.New("no server tells the slots")
}
