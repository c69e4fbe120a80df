package cli

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kvstore/cluster/ring"
	"kvstore/config"
	"kvstore/server/admin"
)

// clusterVerb is one row of the table of what kvstore cluster does.
type clusterVerb struct {
	name    string
	takes   string // arguments besides flags, as in the usage
	changes bool   // it takes the flags of changes
	run     func(c *clusterCall) error
}

func clusterVerbs() []clusterVerb {
	return []clusterVerb{
		{"status", "", false, (*clusterCall).status},
		{"plan", "", true, (*clusterCall).plan},
		{"commit", "", true, (*clusterCall).commit},
		{"abort", "", false, (*clusterCall).simple},
		{"decommission", "NODE", false, (*clusterCall).commit},
		{"remove", "NODE", false, (*clusterCall).commit},
		{"replace", "OLD NEW", false, (*clusterCall).commit},
		{"weight", "NODE W", false, (*clusterCall).commit},
		{"replication", "N|DC=N,...", false, (*clusterCall).commit},
		{"move-pause", "", false, (*clusterCall).simple},
		{"move-resume", "", false, (*clusterCall).simple},
		{"recover", "", false, (*clusterCall).recover},
	}
}

// clusterCall is kvstore cluster with its arguments.
type clusterCall struct {
	*shell
	verb   string
	addr   string
	client *admin.Client
	change admin.Change

	asJSON, yes, watch, force bool
}

func runCluster(s *shell, args []string) error {
	v := newInvocation("cluster")
	c := &clusterCall{shell: s}
	file := v.String("config", "", "")
	v.BoolVar(&c.asJSON, "json", false, "")
	v.BoolVar(&c.yes, "yes", false, "")
	v.BoolVar(&c.watch, "watch", false, "")
	v.BoolVar(&c.force, "force", false, "")
	v.BoolVar(&c.change.Lose, "lose", false, "")
	v.BoolVar(&c.change.Commit, "joining", false, "")
	v.Uint64Var(&c.change.Epoch, "epoch", 0, "")
	v.Func("decommission", "", func(node string) error {
		c.change.Decommission = append(c.change.Decommission, node)
		return nil
	})
	v.Func("remove", "", func(node string) error {
		c.change.Remove = append(c.change.Remove, node)
		return nil
	})
	v.Func("replace", "", func(pair string) error {
		from, to, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("want OLD=NEW")
		}
		c.change.Replace = append(c.change.Replace, admin.Replacement{Old: from, New: to})
		return nil
	})
	v.Func("weight", "", func(pair string) error {
		node, w, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("want NODE=W")
		}
		return c.weigh(node, w)
	})
	v.Func("replication", "", c.replicate)
	const most = 3
	if err := v.parseUpTo(s, args, most); err != nil {
		return err
	}
	verb, err := c.take(v.Args())
	if err != nil {
		return err
	}
	if err := c.checkFlags(v, verb); err != nil {
		return err
	}
	if c.addr, err = s.adminListen(*file, v.settings); err != nil {
		return err
	}
	c.client = admin.NewClient(c.addr)
	return verb.run(c)
}

// take reads the verb and what follows it.
func (c *clusterCall) take(args []string) (clusterVerb, error) {
	var names []string
	for _, verb := range clusterVerbs() {
		names = append(names, verb.name)
		if len(args) == 0 || verb.name != args[0] {
			continue
		}
		c.verb = verb.name
		if args = args[1:]; len(args) != len(strings.Fields(verb.takes)) {
			return verb, usageError(strings.TrimRight("cluster: want kvstore cluster "+verb.name+" "+verb.takes, " ") + "; kvstore help cluster explains")
		}
		return verb, c.takeNodes(args)
	}
	if len(args) == 0 {
		return clusterVerb{}, usageError("cluster: want one of " + strings.Join(names, ", ") + "; kvstore help cluster explains")
	}
	return clusterVerb{}, usageError(fmt.Sprintf("cluster: there is no %q; want one of %s", args[0], strings.Join(names, ", ")))
}

// takeNodes makes the change that a verb with arguments is.
func (c *clusterCall) takeNodes(args []string) error {
	switch c.verb {
	case "decommission":
		c.change.Decommission = append(c.change.Decommission, args[0])
	case "remove":
		c.change.Remove = append(c.change.Remove, args[0])
	case "replace":
		c.change.Replace = append(c.change.Replace, admin.Replacement{Old: args[0], New: args[1]})
	case "weight":
		if err := c.weigh(args[0], args[1]); err != nil {
			return usageError("cluster: " + err.Error())
		}
	case "replication":
		if err := c.replicate(args[0]); err != nil {
			return usageError("cluster: " + err.Error())
		}
	}
	return nil
}

func (c *clusterCall) weigh(node, text string) error {
	w, err := strconv.ParseFloat(text, 64)
	if err != nil || !(w == 0 || w >= ring.MinWeight && w <= ring.MaxWeight) {
		return fmt.Errorf("weight %q of %s: want 0, with which a node holds nothing, or a number from %s to %s", text, node, decimal(ring.MinWeight), decimal(ring.MaxWeight))
	}
	c.change.Weight = append(c.change.Weight, admin.NodeWeight{Node: node, Weight: w})
	return nil
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (c *clusterCall) replicate(text string) error {
	r := new(admin.Replication)
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= config.MaxReplicas {
		r.N = n
	} else {
		perDC, err := config.ParsePerDC(text)
		if len(perDC) == 0 || err != nil {
			return fmt.Errorf("replication %q: want a number of replicas from 1 to %d, or one for each data centre that is to have any, as in east=3,west=3", text, config.MaxReplicas)
		}
		r.PerDC = make(map[string]int)
		for _, dc := range perDC {
			r.PerDC[dc.DC] = dc.N
		}
	}
	c.change.Replication = r
	return nil
}

// checkFlags refuses flags that the verb would not heed.
func (c *clusterCall) checkFlags(v *invocation, verb clusterVerb) (err error) {
	heeds := map[string]bool{"config": true, "json": true, "yes": true, "watch": verb.name == "status", "force": verb.name == "recover",
		"lose": verb.changes || verb.name == "remove", "epoch": verb.name == "commit"}
	for _, name := range []string{"decommission", "remove", "replace", "weight", "replication", "joining"} {
		heeds[name] = verb.changes
	}
	v.Visit(func(f *flag.Flag) {
		if !heeds[f.Name] && err == nil {
			err = usageError(fmt.Sprintf("cluster: kvstore cluster %s takes no --%s; kvstore help cluster explains", verb.name, f.Name))
		}
	})
	return err
}

// plan shows what a change would do.
func (c *clusterCall) plan() error {
	plan, err := c.client.Plan(context.Background(), c.change)
	if err != nil {
		return c.refused(err)
	}
	if c.asJSON {
		return writeJSON(c.stdout, plan)
	}
	if err := writePlan(c.stdout, plan); err != nil || !plan.Changes {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "\nNothing has moved. To do it: kvstore cluster commit --epoch=%d%s\n", plan.Epoch, flagsOf(c.change))
	return err
}

// flagsOf is a change as flags.
func flagsOf(c admin.Change) string {
	var b strings.Builder
	for _, name := range c.Decommission {
		b.WriteString(" --decommission=" + name)
	}
	for _, name := range c.Remove {
		b.WriteString(" --remove=" + name)
	}
	if c.Lose {
		b.WriteString(" --lose")
	}
	for _, r := range c.Replace {
		b.WriteString(" --replace=" + r.Old + "=" + r.New)
	}
	for _, w := range c.Weight {
		fmt.Fprintf(&b, " --weight=%s=%v", w.Node, w.Weight)
	}
	if c.Replication != nil {
		b.WriteString(" --replication=" + shellWord(replicationText(c.Replication)))
	}
	if c.Commit {
		b.WriteString(" --joining")
	}
	return b.String()
}

// commit shows the plan of a change, asks, and makes it.
func (c *clusterCall) commit() error {
	ctx := context.Background()
	plan, err := c.client.Plan(ctx, c.change)
	if err != nil {
		return c.refused(err)
	}
	if !c.asJSON {
		if err := writePlan(c.stdout, plan); err != nil {
			return err
		}
	}
	if !plan.Changes && !c.asJSON {
		return nil
	}
	if plan.Changes {
		if err := c.confirm(c.verb); err != nil {
			return err
		}
	}
	if c.change.Epoch == 0 {
		c.change.Epoch = plan.Epoch
	}
	changed, err := c.client.Commit(ctx, c.change)
	if err != nil {
		return c.refused(err)
	}
	return c.tell(changed)
}

// refused is what a node said, or why none did.
func (c *clusterCall) refused(err error) error {
	if admin.IsRefusal(err) {
		return err
	}
	return unanswered(c.addr, err)
}

// confirm asks the user at a terminal; elsewhere --yes has to be given.
func (c *clusterCall) confirm(what string) error {
	if c.yes {
		return nil
	}
	in, ok := c.stdin.(*os.File)
	if !ok || !isTyped(in) {
		return fmt.Errorf("nothing has changed: %s asks before it begins and there is no terminal to ask at; give --yes", what)
	}
	fmt.Fprintf(c.stderr, "\n%s? [y/N] ", what)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing has changed")
	}
	return nil
}

// isTyped reports whether somebody types what is read there: /dev/null is a device, and no terminal.
func isTyped(in *os.File) bool {
	_, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	return err == nil
}

// simple is what needs no plan.
func (c *clusterCall) simple() error {
	changed, err := c.client.ChangeCluster(context.Background(), strings.TrimPrefix(c.verb, "move-"))
	if err != nil {
		return c.refused(err)
	}
	return c.tell(changed)
}

func (c *clusterCall) recover() error {
	if !c.force {
		return usageError("cluster: " + admin.NoForce)
	}
	return c.simple()
}

// tell says what has become of a change.
func (c *clusterCall) tell(changed admin.Changed) error {
	if c.asJSON {
		return writeJSON(c.stdout, changed)
	}
	line := fmt.Sprintf("%s: done, the ring is at epoch %d", c.verb, changed.Epoch)
	if !changed.Changed {
		line = fmt.Sprintf("%s: nothing to change at epoch %d", c.verb, changed.Epoch)
	}
	switch {
	case changed.Transfers > 0 && changed.Paused:
		line += fmt.Sprintf("; %s left, and moving is paused until kvstore cluster move-resume", plural(changed.Transfers, "transfer"))
	case changed.Transfers > 0:
		line += fmt.Sprintf("; %s left, which kvstore cluster status --watch shows", plural(changed.Transfers, "transfer"))
	}
	if changed.Note != "" {
		line += "\n" + changed.Note
	}
	_, err := fmt.Fprintln(c.stdout, line)
	return err
}

// watchEvery is how often status --watch asks.
const watchEvery = time.Second

// status shows the members and what moves.
func (c *clusterCall) status() error {
	for {
		now, err := c.client.Cluster(context.Background())
		switch {
		case err != nil:
			return c.refused(err)
		case c.asJSON:
			err = writeJSON(c.stdout, now)
		default:
			if c.watch && isTerminal(c.stdout) {
				fmt.Fprint(c.stdout, "\x1b[H\x1b[2J") // the cursor home, and what is there away
			}
			err = writeCluster(c.stdout, now)
		}
		if err != nil || !c.watch || atRest(now) {
			return err
		}
		time.Sleep(watchEvery)
	}
}

// atRest reports whether nothing moves and nothing is to.
func atRest(c admin.Cluster) bool {
	for i := range c.Members {
		if c.Members[i].Moves != nil || c.Members[i].State == "leaving" {
			return false
		}
	}
	return c.Waiting+c.Copying+c.Switched == 0
}
