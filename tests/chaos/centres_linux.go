package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"kvstore/tests/lab"
)

const (
	// perCentre is how many nodes, and replicas of each key, a data centre has.
	perCentre = 3
	// linkDelay is how long a frame takes from one data centre to the other.
	linkDelay = 20 * time.Millisecond
	// partitions are few, because to compare one takes some crossings of the link.
	partitions = 32
)

// centres are two data centres of a cluster, with a long link between them.
type centres struct {
	*world
	east, west []*lab.Node

	cuts, losses int
}

// foundCentres starts a cluster of two data centres.
func foundCentres(ctx context.Context, w *world) (*centres, error) {
	c := &centres{world: w}
	w.normal = func() { c.link(lab.Rule{Delay: linkDelay}) }
	var all []*lab.Node
	for i := range 2 * perCentre {
		h, err := w.net.Add()
		if err != nil {
			return nil, err
		}
		dc, into := "east", &c.east
		if i >= perCentre {
			dc, into = "west", &c.west
		}
		n := lab.NewNode(h, w.program, w.dir, fmt.Sprintf("%c%d", dc[0], i%perCentre+1), all,
			append(memory(), "node.dc="+dc, "cluster.partitions="+strconv.Itoa(partitions), fmt.Sprintf("replication.per_dc=east=%d,west=%d", perCentre, perCentre), "replication.r=local_quorum", "replication.w=local_quorum")...)
		*into = append(*into, n)
		all = append(all, n)
	}
	w.now(all)
	w.normal()
	for _, n := range all {
		if err := n.Start(); err != nil {
			return nil, err
		}
	}
	w.start = time.Now()
	return c, lab.AwaitWhole(ctx, all)
}

// link makes the rule between the data centres.
func (c *centres) link(r lab.Rule) {
	for _, e := range c.east {
		for _, w := range c.west {
			c.net.Both(e.Host, w.Host, r)
		}
	}
}

// awaitLost waits until the nodes of one data centre take those of the other for dead.
func (c *centres) awaitLost(by, lost []*lab.Node) error {
	ctx, cancel := within()
	defer cancel()
	for _, n := range by {
		for _, other := range lost {
			if err := n.Await(ctx, "it knows "+other.Name+" to be dead", func() bool { return n.Lost(other.Name) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut breaks the link for some time.
func (c *centres) cut(how time.Duration) error {
	c.cuts++
	c.tell("the link is cut")
	c.link(lab.Rule{Cut: true})
	if err := errors.Join(c.awaitLost(c.east, c.west), c.awaitLost(c.west, c.east)); err != nil {
		return err
	}
	c.tell("each side takes the other for dead")
	if err := errors.Join(c.refuses(c.east[0]), c.refuses(c.west[0])); err != nil {
		return err
	}
	time.Sleep(how)
	c.normal()
	c.tell("the link is back")
	return c.awaitWhole()
}

// lose kills the west whole, and starts it after some time.
func (c *centres) lose(how time.Duration) error {
	c.losses++
	c.tell("kill -9 of the whole west")
	var wg sync.WaitGroup
	for _, n := range c.west {
		c.ended(n, true)
		wg.Go(n.Kill)
	}
	wg.Wait()
	if err := errors.Join(c.awaitLost(c.east, c.west), c.refuses(c.east[0])); err != nil {
		return err
	}
	time.Sleep(how)
	for _, n := range c.west {
		c.ended(n, false)
		if err := n.Start(); err != nil {
			return err
		}
	}
	c.tell("the west is started")
	return c.awaitWhole()
}

func (c *centres) awaitWhole() error {
	ctx, cancel := within()
	defer cancel()
	err := lab.AwaitWhole(ctx, c.living())
	c.tell("the nodes see each other")
	return err
}

// refuses checks that a data centre alone refuses what needs both, in one line that says
// why, and serves what needs only itself.
func (c *centres) refuses(n *lab.Node) error {
	conn, err := lab.Dial(n.Client, lab.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, command := range [][]string{{"set", "both", "x"}, {"get", "both"}} {
		reply, err := conn.Do(lab.Patience, append([]string{"quorum", "call", "each_quorum", "each_quorum"}, command...)...)
		if err != nil {
			return err
		}
		if c.tell("each_quorum %s at %s: %s", command[0], n.Name, reply.Text); !reply.Is("NOQUORUM") {
			return fmt.Errorf("%s answers a %s at each_quorum with %q while the other data centre is away", n.Name, command[0], reply.Text)
		}
	}
	return nil
}

// traffic is what so many writes take of the link.
type traffic struct {
	writes, size   int
	there, back    int64 // bytes from the east to the west, and back
	passed, direct int64 // objects passed on in the other data centre, and sent over the link besides
}

// measure writes through the east while nobody else does, at a level of all replicas, so
// that everything has arrived when it returns.
func (c *centres) measure(writes, size int) (m traffic, err error) {
	conn, err := lab.Dial(c.east[0].Client, lab.Patience)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	m.writes, m.size = writes, size
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(rand.Uint32()) // nothing makes it smaller
	}
	before := [...]int64{c.sent(c.east, c.west), c.sent(c.west, c.east), c.metric("kvstore_relayed_total"), c.metric("kvstore_unrelayed_total")}
	for i := range writes {
		reply, err := conn.Do(lab.Patience, "quorum", "call", "-", "all", "set", fmt.Sprintf("measured:%d", i), string(value))
		if err != nil || reply.Error {
			return m, errors.Join(err, errors.New(reply.Text))
		}
	}
	m.there, m.back = c.sent(c.east, c.west)-before[0], c.sent(c.west, c.east)-before[1]
	m.passed, m.direct = c.metric("kvstore_relayed_total")-before[2], c.metric("kvstore_unrelayed_total")-before[3]
	return m, nil
}

// sent is how many bytes some nodes have sent to others.
func (c *centres) sent(from, to []*lab.Node) (sum int64) {
	for _, f := range from {
		for _, t := range to {
			sum += c.net.Sent(f.Host, t.Host)
		}
	}
	return sum
}

// metric is the sum of a metric over all nodes that answer.
func (c *centres) metric(name string) (sum int64) {
	for _, n := range c.living() {
		response, err := http.Get("http://" + n.Admin + "/metrics")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(response.Body) // what is missing is not counted
		response.Body.Close()
		for line := range strings.Lines(string(text)) {
			if value, found := strings.CutPrefix(strings.TrimSpace(line), name+" "); found {
				number, _ := strconv.ParseFloat(value, 64)
				sum += int64(number)
			}
		}
	}
	return sum
}

// repair compares all replicas, and tells what that found.
func (c *centres) repair() (string, error) {
	ctx, cancel := within()
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program, "repair", "--admin.listen="+c.east[0].Admin)
	cmd.Dir = c.dir
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
