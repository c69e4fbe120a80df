package compat

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// program finds an executable, or fails the test with what to install.
func program(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run tests/install, or install %s", name, install)
	}
	return path
}

// run runs a client to its end and returns what it printed.
func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String()
}

// goredis builds the program of the module goredis.
func goredis(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "goredis")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = "goredis"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build goredis: %v\n%s", err, out)
	}
	return binary
}

func addresses(nodes []*process.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Client)
	}
	return list
}

// patient are settings of nodes whose clients meet with no error: more time than they need on a machine that has other
// work.
func patient() []string {
	return []string{"replication.read_timeout=15s", "replication.write_timeout=15s"}
}

func TestClientLibraries(t *testing.T) {
	alone := process.Single(t)
	three := process.Cluster(t, 3, patient()...)
	for _, client := range []struct {
		name    string
		command func(t *testing.T) []string
	}{
		{"go-redis", func(t *testing.T) []string { return []string{goredis(t), "scenario"} }},
		{"ioredis", func(t *testing.T) []string { return node(t, "ioredis") }},
		{"node-redis", func(t *testing.T) []string { return node(t, "node-redis") }},
		{"redis-py", func(t *testing.T) []string { return python(t, "scenario") }},
	} {
		t.Run(client.name, func(t *testing.T) {
			command := client.command(t)
			for _, topology := range []struct {
				name, class string
				at          []string
			}{
				{"alone", "single", []string{alone.Client}},
				{"one-of-three", "single", []string{three[1].Client}},
				{"cluster", "cluster", addresses(three)},
			} {
				t.Run(topology.name, func(t *testing.T) {
					args := append(command[1:len(command):len(command)], topology.class, client.name+"-"+topology.name)
					if out := run(t, "", command[0], append(args, topology.at...)...); !strings.Contains(out, "passed") {
						t.Errorf("the scenario did not come to its end: %s", out)
					}
				})
			}
		})
	}
}

func node(t *testing.T, client string) []string {
	t.Helper()
	path := program(t, "node", "Debian's nodejs, version 20 or newer")
	if found, err := filepath.Glob("node/node_modules/.package-lock.json"); err != nil || len(found) == 0 {
		t.Fatal("the node clients are not installed: run tests/install, or npm ci in tests/compat/node")
	}
	return []string{path, "node/" + client + ".mjs"}
}

// python is the command of a program of python/. It takes Debian's own interpreter, which
// is the one that has Debian's package.
func python(t *testing.T, script string) []string {
	t.Helper()
	path := program(t, "/usr/bin/python3", "Debian's python3-redis")
	if err := exec.Command(path, "-c", "import redis").Run(); err != nil {
		t.Fatal("redis-py is not installed: run tests/install, or install Debian's python3-redis")
	}
	return []string{path, "python/" + script + ".py"}
}
