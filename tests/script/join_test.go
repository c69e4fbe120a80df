package script

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kvstore/tests/process"
)

// operate runs kvstore cluster at a node and returns what it prints, and whether it ended
// with status 0.
func operate(n *process.Node, args ...string) (out string, ok bool) {
	b, err := exec.Command(process.Binary(), append(append([]string{"cluster"}, args...), "--admin.listen="+n.Admin)...).CombinedOutput()
	return string(b), err == nil
}

// wantDone runs what has to be done.
func wantDone(t *testing.T, n *process.Node, args ...string) string {
	t.Helper()
	out, ok := operate(n, args...)
	if !ok {
		t.Fatalf("%v: %s", args, out)
	}
	return out
}

// wantNo runs what has to be refused, in one line with all of the words.
func wantNo(t *testing.T, n *process.Node, words []string, args ...string) {
	t.Helper()
	out, ok := operate(n, args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	why := lines[len(lines)-1]
	if ok || !strings.HasPrefix(why, "kvstore: ") || strings.Count(out, "kvstore: ") != 1 {
		t.Errorf("%v: %v, %s", args, ok, out)
	}
	for _, w := range words {
		if !strings.Contains(why, w) {
			t.Errorf("%v: no %q in %s", args, w, why)
		}
	}
}

// topology is what a node says of the ring.
type topology struct {
	Epoch, Waiting, Copying, Switched int
	Members                           []struct{ Name, State string }
}

func ringOf(n *process.Node) (r topology) {
	response, err := http.Get("http://" + n.Admin + "/v1/cluster")
	if err != nil {
		return r
	}
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(&r) // what is not read is not what is waited for
	return r
}

// awaitRing waits until a ring of so many members is at rest.
func awaitRing(t *testing.T, n *process.Node, members int) topology {
	t.Helper()
	var r topology
	process.Await(t, func() bool {
		r = ringOf(n)
		return len(r.Members) == members && r.Waiting+r.Copying+r.Switched == 0
	}, func() string { return fmt.Sprintf("no ring of %d members at rest: %+v", members, r) })
	return r
}

// awaitEnd waits for the end of a node that is refused, which may take it half a minute and
// a busy machine longer, and returns how it ended.
func awaitEnd(n *process.Node) error {
	for range 4 {
		if ended, err := n.Ended(); ended {
			return err
		}
	}
	return errors.New("it goes on")
}

func secretOf(text string) string {
	return "cluster.secret=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(text, 16)))
}

// Who does not belong to a cluster is refused in one line that says why and what to do,
// and ends; the cluster has the same ring as before, and serves.
func TestWhoMayNotJoin(t *testing.T) {
	t.Parallel()
	right := []string{"cluster.name=red", "cluster.partitions=16", "replication.write_timeout=10s", "replication.read_timeout=10s", secretOf("s")}
	nodes := process.Cluster(t, 3, right...)
	c := process.Dial(t, nodes[0].Client)
	c.Expect("SET k v", "OK")
	before := awaitRing(t, nodes[0], 3)
	join := "cluster.join=" + nodes[0].Gossip
	// Later settings count.
	with := func(settings ...string) []string { return append(append([]string{join}, right...), settings...) }
	clone := process.New(t, "clone", with()...)
	if out, err := exec.Command("cp", "-r", nodes[2].Data(), clone.Data()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var ended sync.WaitGroup
	for name, tc := range map[string]struct {
		node  *process.Node
		words []string
	}{
		"another name":       {process.New(t, "m1", with("cluster.name=blue")...), []string{"cluster.join = ", nodes[0].Gossip, `cluster.name = "blue"`, "set cluster.name"}},
		"another secret":     {process.New(t, "m2", with(secretOf("x"))...), []string{"cluster.join = ", "cluster.secret must be the same"}},
		"no secret":          {process.New(t, "m3", with("cluster.secret=")...), []string{"cluster.join = ", "cluster.secret must be the same"}},
		"a name that is had": {process.New(t, "n2", with()...), []string{"cluster.join = ", `node.name = "n2"`, "give this node another"}},
		"other partitions":   {process.New(t, "m4", with("cluster.partitions=32")...), []string{"cluster.join = ", "16 partitions", "set it to 16"}},
		"a clone":            {clone, []string{"storage.dir = ", clone.Data(), "node n3 is there, or may be, with another directory", "give this node a directory"}},
	} {
		tc.node.Launch()
		ended.Go(func() {
			if err := awaitEnd(tc.node); err == nil || !strings.HasSuffix(err.Error(), "exit status 1") || strings.Count(tc.node.Output(), "\nkvstore: ") != 1 {
				t.Errorf("%s: %v\n%s", name, err, tc.node.Output())
			}
			lines := strings.Split(strings.TrimSpace(tc.node.Output()), "\n")
			for _, w := range append(tc.words, "kvstore: ") {
				if !strings.Contains(lines[len(lines)-1], w) {
					t.Errorf("%s: no %q in %s", name, w, lines[len(lines)-1])
				}
			}
		})
	}
	ended.Wait()
	c.Expect("GET k", "v")
	if after := awaitRing(t, nodes[0], 3); after.Epoch != before.Epoch {
		t.Errorf("the ring was of epoch %d and is of %d", before.Epoch, after.Epoch)
	}
	process.AwaitAll(t, nodes)
}

// What operators may not do is refused in one line, and nothing moves: too few nodes for the
// replicas, two who commit at once, the last holder of something, weights that are none.
// Who is decommissioned ends with status 0, who was removed is refused by name.
func TestWhatOperatorsMayNotDo(t *testing.T) {
	t.Parallel()
	nodes := process.Cluster(t, 3, "cluster.partitions=16", "replication.write_timeout=10s", "replication.read_timeout=10s")
	c := process.Dial(t, nodes[0].Client)
	for i := range 50 {
		c.Expect("SET key:"+strconv.Itoa(i)+" v", "OK")
	}
	before := awaitRing(t, nodes[0], 3)
	wantNo(t, nodes[1], []string{"decommission n3: 2 members would be left for 3 replicas", "add a node first", "kvstore cluster replication 2"}, "decommission", "n3", "--yes")
	wantNo(t, nodes[1], []string{"replication 4: 3 members could hold a replica", "add nodes first"}, "replication", "4", "--yes")
	wantNo(t, nodes[1], []string{"replication east=3,west=3", "no member is in data centre east", "dc1"}, "replication", "east=3,west=3", "--yes")
	for _, w := range []string{"-1", "NaN", "1e300", "heavy"} {
		wantNo(t, nodes[1], []string{strconv.Quote(w), "n3", "0", "1000000"}, "weight", "n3", w, "--yes")
	}
	wantNo(t, nodes[1], []string{`there is no member "n9"`, "n1"}, "remove", "n9", "--yes")
	if after := awaitRing(t, nodes[0], 3); after.Epoch != before.Epoch {
		t.Errorf("refused, and the ring of epoch %d is of %d", before.Epoch, after.Epoch)
	}

	// Two who have seen one plan commit at once, each at a node of his own: one of them wins.
	epoch := regexp.MustCompile(`--epoch=\d+`).FindString(wantDone(t, nodes[0], "plan", "--weight=n1=2"))
	var both sync.WaitGroup
	var outs [2]string
	var did [2]bool
	for i := range 2 {
		both.Go(func() {
			outs[i], did[i] = operate(nodes[i], "commit", epoch, "--weight=n"+strconv.Itoa(i+1)+"=2", "--yes")
		})
	}
	both.Wait()
	for i := range 2 {
		if did[0] == did[1] || !did[i] && !strings.Contains(outs[i], "something else was planned; look at the new plan and commit that") {
			t.Errorf("the commit at node %d: %v, %s", i, did[i], outs[i])
		}
	}
	awaitRing(t, nodes[0], 3)

	// With one replica each node is the last holder of something.
	wantDone(t, nodes[1], "replication", "1", "--yes")
	awaitRing(t, nodes[1], 3)
	wantNo(t, nodes[0], []string{"remove n3: nobody else has partition", "bring it back", "--lose"}, "remove", "n3", "--yes")
	for i := range 50 {
		c.Expect("GET key:"+strconv.Itoa(i), "v")
	}

	wantDone(t, nodes[0], "decommission", "n2", "--yes")
	if err := nodes[1].Wait(); err != nil || !strings.Contains(nodes[1].Output(), "kvstore: n2 was decommissioned and has left the cluster") {
		t.Errorf("the node that has left ends with %v", err)
	}
	wantRefusal(t, nodes[1], "storage.dir = ", "n2 has left the cluster", "start it with an empty data directory")
	awaitRing(t, nodes[0], 2)
	for i := range 50 {
		c.Expect("GET key:"+strconv.Itoa(i), "v")
	}
	nodes[2].Kill()
	// It is asked for until the register has heard that the connection is gone.
	wantNo(t, nodes[0], []string{"majority", "n3", "recover --force"}, "move-pause")
	wantDone(t, nodes[0], "recover", "--force")
	nodes[2].Launch()
	if err := nodes[2].Wait(); err == nil || !strings.Contains(nodes[2].Output(), "n3 was removed from the cluster as dead") {
		t.Errorf("the node that was removed ends with %v", err)
	}
}
