package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	serverTimeout  = 20 * time.Second // for one server to start
	clusterTimeout = 60 * time.Second // for a cluster to form and its replicas to follow
)

// startRedis starts a redis-server that fsyncs its log every second, as kvstore
// does, and writes no snapshots.
func startRedis(ctx context.Context, name, dir string, port int, more ...string) (*process, error) {
	args := append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", ""}, more...)
	p, err := startProcess(ctx, name, dir, "redis-server", args...)
	if err != nil {
		return nil, err
	}
	err = p.await(ctx, serverTimeout, func() bool {
		answer, err := redisCLI(ctx, port, "ping")
		return err == nil && strings.TrimSpace(answer) == "PONG"
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// startRedisCluster starts three masters with a replica each. The first port is
// a master's.
func startRedisCluster(ctx context.Context, dir string) (ports []int, processes []*process, err error) {
	const servers = 6
	defer func() {
		if err != nil {
			stopAll(processes)
		}
	}()
	free, err := freePorts(2 * servers)
	if err != nil {
		return nil, nil, err
	}
	create := []string{"--cluster", "create"}
	for i := range servers {
		name := fmt.Sprintf("redis-%d", i+1)
		p, err := startRedis(ctx, name, filepath.Join(dir, name), free[i],
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(free[servers+i]))
		if err != nil {
			return nil, processes, err
		}
		processes = append(processes, p)
		create = append(create, address(free[i]))
	}
	create = append(create, "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.CommandContext(ctx, "redis-cli", create...).CombinedOutput(); err != nil {
		return nil, processes, fmt.Errorf("create the Redis Cluster: %w: %s", err, out)
	}
	ports = free[:servers]
	for i, p := range processes {
		if err := p.await(ctx, clusterTimeout, func() bool { return inCluster(ctx, ports[i]) }); err != nil {
			return nil, processes, err
		}
	}
	return ports, processes, nil
}

// inCluster reports whether the server sees all slots served and, as a replica,
// has its master's data; as a master, has its replica.
func inCluster(ctx context.Context, port int) bool {
	cluster, err := redisCLI(ctx, port, "cluster", "info")
	if err != nil || field([]byte(cluster), "cluster_state") != "ok" {
		return false
	}
	replication, err := redisCLI(ctx, port, "info", "replication")
	if err != nil {
		return false
	}
	if field([]byte(replication), "role") == "slave" {
		return field([]byte(replication), "master_link_status") == "up"
	}
	return strings.Contains(field([]byte(replication), "slave0"), "state=online")
}

func redisCLI(ctx context.Context, port int, command ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-p", strconv.Itoa(port)}, command...)...).Output()
	if err != nil {
		return "", fmt.Errorf("redis-cli %s: %w", strings.Join(command, " "), err)
	}
	return string(out), nil
}
