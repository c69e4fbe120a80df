package compat

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"kvstore/tests/process"
)

// cli runs redis-cli against a node and returns its output without the last line
// break.
func cli(t *testing.T, n *process.Node, stdin string, args ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(n.Client)
	if err != nil {
		t.Fatal(err)
	}
	path := program(t, "redis-cli", "Debian's redis-tools")
	return strings.TrimSuffix(run(t, stdin, path, append([]string{"-h", host, "-p", port}, args...)...), "\n")
}

// A session as typed, and what redis-cli shows for it: --no-raw as on a terminal.
var session = []struct{ command, want string }{
	{"PING", `PONG`},
	{"SET greeting hello", `OK`},
	{"GET greeting", `"hello"`},
	{"GET nothing", `(nil)`},
	{"APPEND greeting !", `(integer) 6`},
	{"SET counter 10", `OK`},
	{"INCRBY counter 5", `(integer) 15`},
	{"MSET a 1 b 2 c 3", `OK`},
	{"MGET a b none c", "1) \"1\"\n2) \"2\"\n3) (nil)\n4) \"3\""},
	{"EXPIRE a 100", `(integer) 1`},
	{"TTL a", `(integer) 100`},
	{"DEL a b c none", `(integer) 3`},
	{"TYPE greeting", `string`},
	{"SET greeting again NX", `(nil)`},
	{"SET greeting again XX GET", `"hello!"`},
	{"INCR greeting", `(error) ERR value is not an integer or out of range`},
	{"GET", `(error) ERR wrong number of arguments for 'get' command`},
	{"HGET greeting x", "(error) ERR unknown command 'HGET', with args beginning with: 'greeting' 'x' "},
	{"SELECT 3", `OK`},
	{"GET greeting", `(nil)`},
	{"SELECT 0", `OK`},
	{"QUORUM SET W ALL R ONE", `OK`},
	{"SET greeting all", `OK`},
	{"GET greeting", `"all"`},
	{"QUORUM RESET", `OK`},
	{"CLUSTER KEYSLOT greeting", `(integer) 12714`},
	{"SCAN 0 MATCH greet* COUNT 1000", "1) \"0\"\n2) 1) \"greeting\""},
}

func TestRedisCLI(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			nodes := process.Cluster(t, size, patient()...)
			t.Run("session", func(t *testing.T) {
				var in, want strings.Builder
				for _, s := range session {
					in.WriteString(s.command + "\n")
					want.WriteString(s.want + "\n")
				}
				got := strings.Split(cli(t, nodes[0], in.String(), "--no-raw"), "\n")
				for i, w := range strings.Split(strings.TrimSuffix(want.String(), "\n"), "\n") {
					if i >= len(got) || strings.TrimSpace(got[i]) != strings.TrimSpace(w) {
						t.Fatalf("line %d is not %q of the session:\n%s", i+1, w, strings.Join(got, "\n"))
					}
				}
			})
			t.Run("RESP3", func(t *testing.T) {
				if got := cli(t, nodes[0], "", "-3", "--no-raw", "QUORUM"); !strings.Contains(got, `"r" => "quorum"`) {
					t.Errorf("QUORUM is not a map: %s", got)
				}
			})
			t.Run("pipe", func(t *testing.T) {
				const count = 20000
				var in strings.Builder
				for i := range count {
					in.WriteString(process.Encode("SET", fmt.Sprintf("pipe:%d", i), "x"))
				}
				got := cli(t, nodes[0], in.String(), "--pipe")
				if !strings.Contains(got, fmt.Sprintf("errors: 0, replies: %d", count)) {
					t.Errorf("--pipe: %s", got)
				}
				got = cli(t, nodes[size-1], "", "--scan", "--pattern", "pipe:*")
				if lines := strings.Count(got, "pipe:"); lines != count {
					t.Errorf("--scan finds %d keys of %d", lines, count)
				}
			})
			t.Run("cluster check", func(t *testing.T) {
				got := cli(t, nodes[0], "", "--cluster", "check", nodes[0].Client)
				for _, want := range []string{"[OK] All nodes agree about slots configuration.", "[OK] All 16384 slots covered.", fmt.Sprintf("in %d masters.", size)} {
					if !strings.Contains(got, want) {
						t.Errorf("no %q in:\n%s", want, got)
					}
				}
			})
			t.Run("cluster mode", func(t *testing.T) {
				for i := range 20 {
					cli(t, nodes[i%size], "", "-c", "SET", fmt.Sprintf("moved:%d", i), "x")
				}
				if got := cli(t, nodes[0], "", "-c", "EXISTS", "moved:0", "moved:7", "moved:19"); got != "3" {
					t.Errorf("EXISTS: %s", got)
				}
			})
		})
	}
}

// With routing by redirection nodes answer MOVED, which redis-cli -c and cluster
// clients follow. Keys have one replica, so that most are elsewhere.
func TestRedirect(t *testing.T) {
	nodes := process.Cluster(t, 3, append(patient(), "server.routing=redirect", "replication.n=1")...)
	moved, held := 0, ""
	for i, n := range nodes {
		c := process.Dial(t, n.Client)
		if got := c.Do("MGET", "a", "b", "c", "d", "e", "f"); !strings.HasPrefix(got, "-CROSSSLOT ") {
			t.Errorf("MGET of six keys on one of three nodes: %s", got)
		}
		switch got := c.Do("MGET", "{k}1", "{k}2"); {
		case strings.HasPrefix(got, "-MOVED "):
			moved++
			held = got[strings.LastIndex(got, " ")+1:]
			if got := c.Do("ASKING") + c.Do("EXISTS", "{k}1"); strings.Contains(got, "MOVED") {
				t.Errorf("after ASKING, node %d: %s", i, got)
			}
			if got := c.Do("EXISTS", "{k}1"); !strings.HasPrefix(got, "-MOVED ") {
				t.Errorf("the command after that, node %d: %s", i, got)
			}
		}
	}
	if moved != 2 {
		t.Errorf("%d of three nodes sent the client on", moved)
	}
	if got := process.Dial(t, strings.TrimSpace(held)).Do("MGET", "{k}1", "{k}2"); strings.HasPrefix(got, "-") {
		t.Errorf("where MOVED led: %s", got)
	}
	for i := range 30 {
		key := fmt.Sprintf("key:%d", i)
		if got := cli(t, nodes[i%3], "", "-c", "SET", key, key); got != "OK" && !strings.HasSuffix(got, "\nOK") {
			t.Errorf("SET %s: %s", key, got)
		}
	}
	list := addresses(nodes)
	if out := run(t, "", goredis(t), append([]string{"scenario", "cluster", "redirect"}, list...)...); !strings.Contains(out, "passed") {
		t.Error(out)
	}
}

// benchmarkTries is how often redis-benchmark is run, which ends with the first error: a machine that has other work may
// make a node late, and what is under way there is then TIMEOUT.
const benchmarkTries = 5

func TestRedisBenchmark(t *testing.T) {
	path := program(t, "redis-benchmark", "Debian's redis-tools")
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			nodes := process.Cluster(t, size, patient()...)
			host, port, err := net.SplitHostPort(nodes[0].Client)
			if err != nil {
				t.Fatal(err)
			}
			modes := [][]string{{"-P", "1"}, {"-P", "16"}}
			if size > 1 { // redis-benchmark calls one node no cluster
				modes = append(modes, []string{"-P", "16", "--cluster"})
			}
			for _, mode := range modes {
				args := append([]string{"-h", host, "-p", port, "-n", "10000", "-r", "10000", "-d", "64", "-t", "set,get,incr,mset", "--csv"}, mode...)
				out, err := "", error(nil)
				for range benchmarkTries {
					if out, err = output(t.Context(), "", path, args...); err == nil || !strings.Contains(out, "Error from server: TIMEOUT") {
						break
					}
				}
				if err != nil {
					t.Error(err)
				}
				for _, test := range []string{"SET", "GET", "INCR", "MSET (10 keys)"} {
					if !strings.Contains(out, `"`+test+`"`) {
						t.Errorf("%v: no result of %s:\n%s", mode, test, out)
					}
				}
			}
		})
	}
}
