package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"kvstore/cluster/ring"
	"kvstore/tests/lab"
)

// redis is a Redis Cluster of three masters, and a fourth for a while.
type redis struct {
	dir     string
	masters []*lab.Server
	ports   []int
	slots   *slots
}

func startRedis(ctx context.Context, dir string) (_ system, err error) {
	r := &redis{dir: dir}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	create := []string{"--cluster", "create"}
	for i := range threeNodes {
		if err := r.add(ctx); err != nil {
			return nil, err
		}
		create = append(create, loopback(r.ports[i]))
	}
	if err := cli(ctx, append(create, "--cluster-yes")...); err != nil {
		return nil, err
	}
	if err := r.agree(ctx); err != nil {
		return nil, err
	}
	var seeds []string
	for _, port := range r.ports {
		seeds = append(seeds, loopback(port))
	}
	r.slots, err = newSlots(seeds)
	return r, err
}

// add starts one more server, which is in no cluster.
func (r *redis) add(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	s := &lab.Server{Name: fmt.Sprintf("redis-%d", len(r.masters)+1), Host: &lab.Host{}}
	s.Dir = filepath.Join(r.dir, s.Name)
	s.Command = []string{"redis-server", "--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(ports[1])}
	if err := s.Start(); err != nil {
		return err
	}
	r.masters, r.ports = append(r.masters, s), append(r.ports, ports[0])
	return s.Await(ctx, "it answers", func() bool {
		reply, err := ask(loopback(ports[0]), "ping")
		return err == nil && reply.Text == "PONG"
	})
}

// agree waits until every server has all slots served.
func (r *redis) agree(ctx context.Context) error {
	for i, s := range r.masters {
		err := s.Await(ctx, "it is in the cluster", func() bool {
			info, err := ask(loopback(r.ports[i]), "cluster", "info")
			return err == nil && strings.Contains(info.Text, "cluster_state:ok") && strings.Contains(info.Text, "cluster_slots_ok:16384") &&
				strings.Contains(info.Text, fmt.Sprintf("cluster_known_nodes:%d\r", len(r.masters)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cli runs redis-cli.
func cli(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("redis-cli %s: %w: %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return nil
}

func (r *redis) servers() []*lab.Server { return r.masters }

func (r *redis) close() {
	if r.slots != nil {
		r.slots.close()
	}
	for _, s := range r.masters {
		s.Kill()
	}
}

func (r *redis) newClient(int) requester {
	return &routed{slots: r.slots, conns: map[string]*lab.Conn{}}
}

func (r *redis) route(key string) string { return r.slots.of(key) }

// settle has nothing to wait for.
func (r *redis) settle(context.Context) error { return r.slots.learn() }

func (r *redis) grow(ctx context.Context) (c change, err error) {
	if err := r.add(ctx); err != nil {
		return c, err
	}
	first, added := loopback(r.ports[0]), loopback(r.ports[threeNodes])
	if err := cli(ctx, "--cluster", "add-node", added, first); err != nil {
		return c, err
	}
	// redis-cli refuses to begin before all servers know the new one.
	if err := r.agree(ctx); err != nil {
		return c, err
	}
	if err := cli(ctx, "--cluster", "rebalance", first, "--cluster-use-empty-masters"); err != nil {
		return c, err
	}
	return r.fourth(ctx, ring.Slots/(threeNodes+1))
}

func (r *redis) shrink(ctx context.Context) (c change, err error) {
	if c, err = r.fourth(ctx, 0); err != nil {
		return c, err
	}
	c.least = c.parts
	first, leaving := loopback(r.ports[0]), r.masters[threeNodes]
	id, err := ask(loopback(r.ports[threeNodes]), "cluster", "myid")
	if err != nil {
		return c, err
	}
	if err := cli(ctx, "--cluster", "rebalance", first, "--cluster-weight", id.Text+"=0"); err != nil {
		return c, err
	}
	if err := cli(ctx, "--cluster", "del-node", first, id.Text); err != nil {
		return c, err
	}
	leaving.Kill()
	r.masters, r.ports = r.masters[:threeNodes], r.ports[:threeNodes]
	return c, r.agree(ctx)
}

// A master that is away takes its slots with it: nothing is written that it could miss.
func (r *redis) absent(context.Context) error { return errors.ErrUnsupported }

func (r *redis) back(context.Context) (c change, err error) { return c, errors.ErrUnsupported }

// fourth is what the fourth master has: all of that moved, or will.
func (r *redis) fourth(ctx context.Context, least int) (c change, err error) {
	keys, err := ask(loopback(r.ports[threeNodes]), "dbsize")
	if err != nil {
		return c, err
	}
	if c.keys, err = strconv.ParseInt(keys.Text, 10, 64); err != nil {
		return c, err
	}
	info, err := ask(loopback(r.ports[threeNodes]), "cluster", "slots")
	if err != nil {
		return c, err
	}
	for _, s := range info.Items {
		if s.Items[2].Items[1].Text == strconv.Itoa(r.ports[threeNodes]) {
			first, _ := strconv.Atoi(s.Items[0].Text) // numbers, by the protocol
			last, _ := strconv.Atoi(s.Items[1].Text)
			c.parts += last - first + 1
		}
	}
	c.least, c.all = least, ring.Slots
	return c, ctx.Err()
}
