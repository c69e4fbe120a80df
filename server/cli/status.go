package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/server/admin"
)

func runStatus(s *shell, args []string) error {
	v := newInvocation("status")
	file, asJSON, level := v.String("config", "", ""), v.Bool("json", false, ""), v.Bool("level", false, "")
	hot, top := v.Bool("hot", false, ""), v.Int("top", defaultTop, "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	if *top < 1 || *top > admin.MaxTop {
		return usageError(fmt.Sprintf("status: --top=%d is not from 1 to %d", *top, admin.MaxTop))
	}
	addr, err := s.adminListen(*file, v.settings)
	if err != nil {
		return err
	}
	if *hot {
		return showHot(s, addr, *top, *asJSON)
	}
	list, err := admin.NewClient(addr).Nodes(context.Background())
	if err != nil {
		return unanswered(addr, err)
	}
	switch {
	case *level:
		if why := unlevel(list); why != "" {
			return errors.New("not level yet: " + why)
		}
		_, err = fmt.Fprintf(s.stdout, "level: %s alive, and the node that was asked has all that was written\n", plural(len(list.Nodes), "node"))
	case *asJSON:
		err = writeJSON(s.stdout, list)
	default:
		err = writeStatus(s.stdout, list, time.Now())
	}
	return err
}

// unlevel says why the next node should not be stopped yet, "" when it may be: all nodes live, and neither the one that was
// asked nor, as far as it knows, another lacks anything.
func unlevel(list admin.NodeList) string {
	if !list.Ready {
		return list.Reason
	}
	for _, n := range list.Nodes {
		switch {
		case n.State != "alive":
			return n.Name + " is " + n.State
		case n.Hints > 0:
			return fmt.Sprintf("%s are kept for %s", plural(int(n.Hints), "hint"), n.Name)
		}
	}
	switch {
	case list.Filling > 0:
		return plural(list.Filling, "partition") + " are being filled by the others"
	case list.Unsettled > 0:
		return plural(list.Unsettled, "partition") + " may have been written without the node"
	}
	return ""
}

// unanswered is the error of a node that cannot be asked.
func unanswered(addr string, err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("admin.listen = %q: no node answers there; start one, or name another with --admin.listen=HOST:PORT", addr)
	}
	if broken, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("admin.listen = %q: what listens there is not a node's HTTP server (%w); name another with --admin.listen=HOST:PORT", addr, broken.Err)
	}
	return fmt.Errorf("admin.listen = %q: %w", addr, err)
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeStatus prints list as a table for people: what is wrong first.
func writeStatus(out io.Writer, list admin.NodeList, now time.Time) error {
	if list.Epoch == 0 {
		why := list.Reason
		if why == "" {
			why = "its log says what it waits for"
		}
		_, err := fmt.Fprintf(out, "cluster %s: the node is in no ring yet: %s\n", list.Cluster, strings.TrimPrefix(why, coordinator.ErrNotReady.Error()+": "))
		return err
	}
	self := "the node that was asked"
	states := map[string]int{}
	for _, n := range list.Nodes {
		states[n.State]++
		if n.ID == list.Self {
			self = n.Name
		}
	}
	fmt.Fprintf(out, "cluster %s (%s): %s; %s; ring epoch %d\n", list.Cluster, list.ClusterID, inStates(states, len(list.Nodes)),
		plural(list.Partitions, "partition"), list.Epoch)
	if !list.Ready {
		fmt.Fprintf(out, "%s is not ready: %s\n", self, list.Reason)
	}
	if list.Clock != "" {
		fmt.Fprintf(out, "%s: %s\n", self, list.Clock)
	}
	if list.Refill != nil {
		fmt.Fprintf(out, "%s is being filled by the others: %s\n", self, refillLine(list.Refill))
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tADDRESS\tSTATE\tHEARTBEAT\tPARTITIONS\tPRIMARY\tDC\tRACK\tID")
	for _, n := range list.Nodes {
		name := n.Name
		if n.ID == list.Self {
			name += "*"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, n.Address, n.State, ago(n.Heartbeat, now, n.ID == list.Self),
			share(n.Replicas, list.Partitions), share(n.Primaries, list.Partitions), n.DC, n.Rack, n.ID)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	kept := ""
	for _, n := range list.Nodes {
		if n.Hints > 0 {
			kept += fmt.Sprintf("\n%s keeps %s for %s", self, plural(int(n.Hints), "hint"), n.Name)
		}
	}
	if kept != "" {
		fmt.Fprintln(out, kept)
	}
	_, err := fmt.Fprintln(out, "\n* was asked; the states are as it sees them. PRIMARY: partitions whose writes go to the node first.")
	return err
}

// inStates counts nodes by their state, the living first.
func inStates(states map[string]int, all int) string {
	text := plural(all, "node")
	if states["alive"] == all && all > 0 {
		return text + ", all alive"
	}
	for _, state := range []string{"alive", "suspect", "dead"} {
		if n := states[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return text
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// ago is how long ago a heartbeat was.
func ago(t, now time.Time, self bool) string {
	switch {
	case self:
		return "now"
	case t.IsZero():
		return "never"
	}
	d := max(0, now.Sub(t))
	if d < time.Minute {
		return fmt.Sprintf("%.1fs ago", d.Seconds())
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s") + " ago"
}

// share is n of all with its percentage.
func share(n, all int) string {
	if all == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%d%%)", n, (100*n+all/2)/all)
}
