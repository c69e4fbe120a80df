package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"kvstore/server/admin"
	"kvstore/tests/lab"
)

// growth is a cluster whose nodes come and go.
type growth struct {
	*world
	random *rand.Rand
	free   []*lab.Host // without a node
	named  int         // nodes so far

	changes int
	lost    int            // nodes that were replaced
	counts  map[strike]int // kills at the stage that they were for
	late    int            // kills for which that stage was over
}

// slowly makes moves take long enough to be met in the middle.
func slowly() []string {
	return []string{"transfer.moves=8", "transfer.rate=4MiB"}
}

// within is ctx for one thing that has to happen.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), healWithin)
}

// await waits until something holds.
func await(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(lab.Pause / 4):
		}
	}
	return nil
}

// newNode prepares a node with a name that none had before.
func (g *growth) newNode(settings ...string) (*lab.Node, error) {
	if len(g.free) == 0 {
		h, err := g.net.Add()
		if err != nil {
			return nil, err
		}
		g.free = append(g.free, h)
	}
	g.named++
	n := lab.NewNode(g.free[0], g.program, g.dir, fmt.Sprintf("n%d", g.named), g.living(), slices.Concat(memory(), slowly(), settings)...)
	g.free = g.free[1:]
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[n] = true
	return n, nil
}

// round grows the cluster by some nodes, one after the other, and shrinks it again by as
// many, whichever they are.
func (g *growth) round(by, kills int) error {
	for i, blows := range strikes(g.random, 2*by, kills) {
		if i < by {
			if err := g.join(blows); err != nil {
				return fmt.Errorf("join: %w", err)
			}
		} else if err := g.leave(blows); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
	}
	return nil
}

// join adds a node.
func (g *growth) join(blows []strike) error {
	n, err := g.newNode()
	if err != nil {
		return err
	}
	before := g.living()
	lead, err := g.lead(before)
	if err != nil {
		return err
	}
	g.tell("%s joins; %s takes it in", n.Name, lead.Name)
	if err := n.Start(); err != nil {
		return err
	}
	c := change{growth: g, nodes: append(slices.Clip(before), n), planner: lead, entering: n}
	if len(blows) > 0 && blows[0] == (strike{planned, planner}) {
		ctx, cancel := within()
		defer cancel()
		if err := await(ctx, n.Name+" is heard of", func() bool { return lead.Sees(n.Name) }); err != nil {
			return err
		}
		time.Sleep(rand.N(maxInFlight))
	}
	if err := c.suffer(blows); err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	if err := n.AwaitReady(ctx); err != nil {
		return err
	}
	g.now(c.nodes)
	return c.settle()
}

// maxInFlight is how long at most a node that is asked for a change lives on.
const maxInFlight = 30 * time.Millisecond

// lead is the node that takes in who joins: the first that there is, by id.
func (g *growth) lead(nodes []*lab.Node) (*lab.Node, error) {
	c, err := ask(nodes, (*admin.Client).Cluster)
	if err != nil {
		return nil, err
	}
	first := slices.MinFunc(c.Members, func(a, b admin.ClusterMember) int { return strings.Compare(a.ID, b.ID) })
	return named(nodes, first.Name), nil
}

// named finds a node, nil if it is none of them.
func named(nodes []*lab.Node, name string) *lab.Node {
	for _, n := range nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// leave has a node give up what it holds.
func (g *growth) leave(blows []strike) error {
	nodes := g.living()
	order := g.random.Perm(len(nodes))
	leaving, lead := nodes[order[0]], nodes[order[1]]
	c := change{growth: g, nodes: nodes, planner: lead, leaving: leaving}
	g.tell("%s is decommissioned by %s", leaving.Name, lead.Name)
	done := make(chan error, 1)
	go func() { done <- g.command(lead, "decommission", leaving.Name, "--yes") }()
	if len(blows) > 0 && blows[0] == (strike{planned, planner}) {
		time.Sleep(rand.N(10 * maxInFlight)) // a program has to be started
		if err := c.strike(blows[0], true); err != nil {
			return err
		}
		blows = blows[1:]
	}
	if err := <-done; err != nil {
		g.tell("the command ended with: %v", err)
	}
	for try := 0; ; try++ {
		// Whoever asked a node that died does not know, looks, and asks again.
		list, err := ask(nodes, (*admin.Client).Cluster)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list.Members, func(m admin.ClusterMember) bool { return m.Name == leaving.Name })
		if i < 0 || list.Members[i].State == "leaving" {
			break
		}
		if err := g.command(nodes[order[2+try%(len(nodes)-2)]], "decommission", leaving.Name, "--yes"); err != nil {
			g.tell("the command ended with: %v", err)
			if try > 20 {
				return err
			}
		}
	}
	if err := c.suffer(blows); err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	if err := await(ctx, leaving.Name+" ends", func() bool { return !leaving.Running() }); err != nil {
		return err
	}
	g.ended(leaving, true)
	g.tell("%s has left", leaving.Name)
	return c.gone(leaving)
}

// gone goes on without a node.
func (c *change) gone(n *lab.Node) error {
	c.nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(o *lab.Node) bool { return o == n })
	c.now(c.nodes)
	c.free = append(c.free, n.Host)
	if err := c.settle(); err != nil {
		return err
	}
	return os.RemoveAll(n.Dir)
}

// replace loses a node for good, with its directory, and puts another in its place.
func (g *growth) replace() error {
	nodes := g.living()
	order := g.random.Perm(len(nodes))
	dead, lead := nodes[order[0]], nodes[order[1]]
	g.tell("%s is lost for good", dead.Name)
	g.ended(dead, true)
	dead.Kill()
	if err := os.RemoveAll(dead.Dir); err != nil {
		return err
	}
	heir, err := g.newNode("cluster.auto_join=false")
	if err != nil {
		return err
	}
	if err := heir.Start(); err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	for _, n := range nodes {
		if n == dead {
			continue
		}
		if err := n.Await(ctx, "it knows "+dead.Name+" to be dead", func() bool { return n.Lost(dead.Name) }); err != nil {
			return err
		}
	}
	err = await(ctx, heir.Name+" is joining", func() bool {
		c, err := ask([]*lab.Node{lead}, (*admin.Client).Cluster)
		return err == nil && slices.ContainsFunc(c.Members, func(m admin.ClusterMember) bool { return m.Name == heir.Name })
	})
	if err != nil {
		return err
	}
	for _, command := range [][]string{{"replace", dead.Name, heir.Name, "--yes"}, {"remove", dead.Name, "--yes"}} {
		if err := g.command(lead, command...); err != nil {
			return err
		}
	}
	g.lost++
	c := change{growth: g, nodes: append(slices.Clip(nodes), heir), planner: lead, entering: heir}
	return c.gone(dead)
}

// command runs kvstore cluster as an operator does, through a node.
func (g *growth) command(through *lab.Node, args ...string) error {
	ctx, cancel := within()
	defer cancel()
	cmd := exec.CommandContext(ctx, g.program, slices.Concat([]string{"cluster"}, args, []string{"--admin.listen=" + through.Admin})...)
	cmd.Dir = g.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	g.tell("kvstore cluster %s, through %s:\n%s", strings.Join(args, " "), through.Name, out.String())
	if err != nil {
		return fmt.Errorf("kvstore cluster %s: %w: %s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

// ask asks the nodes one after the other until one answers.
func ask[T any](nodes []*lab.Node, what func(*admin.Client, context.Context) (T, error)) (answer T, err error) {
	ctx, cancel := within()
	defer cancel()
	err = await(ctx, "a node answers", func() bool {
		for _, n := range nodes {
			if !n.Running() {
				continue
			}
			if answer, err = what(admin.NewClient(n.Admin), ctx); err == nil {
				return true
			}
		}
		return false
	})
	return answer, err
}

// change is one change of the ring under way.
type change struct {
	*growth
	nodes             []*lab.Node // members, and who enters
	planner           *lab.Node
	entering, leaving *lab.Node // one of them is nil
}

// suffer kills nodes at the stages of a change.
func (c *change) suffer(blows []strike) error {
	c.changes++
	for _, s := range blows {
		reached, err := c.reach(s)
		if err == nil {
			err = c.strike(s, reached)
		}
		if err != nil {
			return fmt.Errorf("kill the %v: %w", s, err)
		}
	}
	return nil
}

// reach waits until the change is at a stage; false when it is over before.
func (c *change) reach(s strike) (reached bool, err error) {
	ctx, cancel := within()
	defer cancel()
	if s == (strike{planned, planner}) {
		return true, nil // it is being made
	}
	began := false
	err = await(ctx, fmt.Sprintf("the change is %v", s.stage), func() bool {
		r, err := ask(c.nodes, (*admin.Client).Ring)
		if err != nil {
			return false
		}
		began = began || c.known(&r)
		reached = c.isAt(s.stage, &r)
		return reached || began && len(r.Transfers) == 0 && !c.isAt(cleaning, &r)
	})
	return reached, err
}

// known reports whether a ring has the change.
func (c *change) known(r *admin.Ring) bool {
	has := func(n *lab.Node) bool {
		return slices.ContainsFunc(r.Members, func(m admin.Node) bool { return m.Name == n.Name })
	}
	if c.entering != nil {
		return has(c.entering)
	}
	return true // it was committed before
}

// isAt reports whether the change is at a stage, by a ring.
func (c *change) isAt(s stage, r *admin.Ring) bool {
	if s == cleaning {
		return c.dropping() != nil
	}
	return slices.ContainsFunc(r.Transfers, func(t admin.Transfer) bool { return t.Step == stepOf(s) })
}

// stepOf is a stage as the ring names it.
func stepOf(s stage) string { return [...]string{"waiting", "copying", "switched", ""}[s] }

// dropping is a node that drops what has left it; nil when there is none.
func (c *change) dropping() *lab.Node {
	for _, n := range c.nodes {
		if !n.Running() {
			continue
		}
		if r, err := admin.NewClient(n.Admin).Ring(context.Background()); err == nil && r.Moves != nil && r.Moves.Dropping > 0 {
			return n
		}
	}
	return nil
}

// victim is who plays a part at a stage now.
func (c *change) victim(s strike) *lab.Node {
	r, err := ask(c.nodes, (*admin.Client).Ring)
	if s.part == planner || err != nil {
		return c.planner
	}
	name := map[string]string{}
	for _, m := range r.Members {
		name[m.ID] = m.Name
	}
	var able []*lab.Node
	for _, t := range r.Transfers {
		id := t.From
		if s.part == target {
			id = t.To
		}
		if n := named(c.nodes, name[id]); n != nil && (t.Step == stepOf(s.stage) || s.stage == cleaning) {
			able = append(able, n)
		}
	}
	if n := c.dropping(); s == (strike{cleaning, source}) && n != nil {
		return n
	}
	switch {
	case len(able) > 0:
		return able[c.random.IntN(len(able))]
	case s.part == source && c.leaving != nil:
		return c.leaving
	case s.part == target && c.entering != nil:
		return c.entering
	}
	others := slices.DeleteFunc(slices.Clone(c.nodes), func(n *lab.Node) bool { return n == c.leaving || n == c.entering })
	return others[c.random.IntN(len(others))]
}

// How long a node that was killed stays away.
const (
	shortAway = 200 * time.Millisecond
	longAway  = 1500 * time.Millisecond
)

// strike kills who plays a part, and starts it again.
func (c *change) strike(s strike, reached bool) error {
	n := c.victim(s)
	if c.counts[s]++; !reached {
		c.counts[s]--
		c.late++
	}
	c.tell("kill -9 of %s, %v (in time: %v)", n.Name, s, reached)
	n.Kill()
	time.Sleep(span(c.random, shortAway, longAway))
	if err := n.Start(); err != nil {
		return err
	}
	c.tell("%s is started", n.Name)
	ctx, cancel := within()
	defer cancel()
	err := n.AwaitReady(ctx)
	if n == c.leaving && !n.Running() {
		return nil // it had nothing left, and was told so
	}
	if err == nil {
		c.tell("%s serves", n.Name)
	}
	return err
}

// settle waits until the change is done and every node has cleaned up.
func (c *change) settle() error {
	ctx, cancel := within()
	defer cancel()
	begun, why := time.Now(), ""
	for _, n := range c.nodes {
		err := n.Await(ctx, "the ring is settled", func() bool {
			list, err := admin.NewClient(n.Admin).Cluster(ctx)
			if err == nil {
				err = c.settled(&list)
			}
			if why = ""; err != nil {
				why = err.Error()
			}
			return err == nil
		})
		if err != nil {
			return fmt.Errorf("%w; %s", err, why)
		}
	}
	c.tell("the ring is settled, %.1f s later", time.Since(begun).Seconds())
	return lab.AwaitWhole(ctx, c.nodes)
}

// settled says what is still to be done.
func (c *change) settled(list *admin.Cluster) error {
	if list.Waiting+list.Copying+list.Switched > 0 {
		return fmt.Errorf("transfers: %d waiting, %d copying, %d switched", list.Waiting, list.Copying, list.Switched)
	}
	if len(list.Members) != len(c.nodes) {
		return fmt.Errorf("%d members", len(list.Members))
	}
	for _, m := range list.Members {
		switch {
		case named(c.nodes, m.Name) == nil:
			return errors.New(m.Name + " is a member still")
		case m.State != "active" || m.Partitions == 0:
			return fmt.Errorf("%s is %s and has %d partitions", m.Name, m.State, m.Partitions)
		case m.Moves != nil:
			return fmt.Errorf("%s has work: %+v", m.Name, *m.Moves)
		}
	}
	return nil
}
