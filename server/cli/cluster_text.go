package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kvstore/config"
	"kvstore/server/admin"
)

// writePlan prints what a change would do.
func writePlan(out io.Writer, p admin.Plan) error {
	if !p.Changes {
		_, err := fmt.Fprintf(out, "nothing to change: the ring of epoch %d is as it would be then, and no node is joining\n", p.Epoch)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tDC\tRACK\tWEIGHT\tPARTITIONS\tSHARE\tIN\tKEYS\tOUT\tKEYS")
	for _, n := range p.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%v\t%d -> %d\t%.1f%% -> %.1f%%\t%v\t%d\t%v\t%d\n", n.Name, n.State, n.DC, n.Rack, n.Weight,
			n.Before, n.After, 100*n.BeforeShare, 100*n.AfterShare, roughly(n.InBytes), n.InKeys, roughly(n.OutBytes), n.OutKeys)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if p.Before != p.After {
		fmt.Fprintf(out, "replicas of each partition: %s -> %s\n", p.Before, p.After)
	}
	if p.Moves > 0 {
		writeMoves(out, p)
	}
	if p.Paused {
		fmt.Fprintln(out, "moving is paused: nothing begins before kvstore cluster move-resume")
	}
	_, err := fmt.Fprint(out, notes(p))
	return err
}

// writeMoves says how much a plan moves, and how long that may take.
func writeMoves(out io.Writer, p admin.Plan) {
	at := fmt.Sprintf("at %v a second for each node (transfer.rate)", config.ByteSize(p.Rate))
	if p.Measured {
		at = fmt.Sprintf("at the %v a second that moving takes now", roughly(p.Rate))
	}
	if p.Parallel > 0 {
		at += fmt.Sprintf(", %s at a time (transfer.moves)", plural(p.Parallel, "partition"))
	}
	fmt.Fprintf(out, "%s to move, %d at least for these shares: about %v in %s, at least about %v %s\n",
		plural(p.Moves, "replica"), p.LeastMove, roughly(p.Bytes), plural(int(p.Keys), "key"), duration(p.Seconds), at)
	fmt.Fprintln(out, "sizes are the keys of each partition times what a key takes on average on the disk of the node that has them")
	if p.Unsized > 0 {
		fmt.Fprintf(out, "not among them are %s of which no holder has answered\n", plural(p.Unsized, "replica"))
	}
}

func notes(p admin.Plan) string {
	var b strings.Builder
	switch goes := p.Transfers - p.Moves; {
	case goes > 0:
		fmt.Fprintf(&b, "%s to drop, once the others have what it has\n", plural(goes, "replica"))
	case p.Moves == 0:
		b.WriteString("nothing has to move\n")
	}
	for _, note := range p.Notes {
		b.WriteString("note: " + note + "\n")
	}
	return b.String()
}

// roughly is a size as an estimate has it: to a tenth of its unit.
func roughly(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, unit := float64(bytes), 0
	for ; v >= 1024 && unit < len(units)-1; unit++ {
		v /= 1024
	}
	if unit == 0 || v >= 100 {
		return fmt.Sprintf("%.0f%s", v, units[unit])
	}
	return fmt.Sprintf("%.1f%s", v, units[unit])
}

// duration is a time in seconds as an estimate has it.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Second {
		return "a second"
	}
	return d.Round(time.Second).String()
}

// writeCluster prints the members, and a bar for each that has something to move.
func writeCluster(out io.Writer, c admin.Cluster) error {
	perDC := ""
	if len(c.PerDC) > 0 {
		perDC = " (" + replicationText(&admin.Replication{PerDC: c.PerDC}) + ")"
	}
	fmt.Fprintf(out, "cluster %s at epoch %d: %s, %s with %s%s each\n", c.ClusterID, c.Epoch, plural(len(c.Members), "member"),
		plural(c.Partitions, "partition"), plural(c.Replicas, "replica"), perDC)
	if c.Generation > 0 {
		fmt.Fprintf(out, "it was recovered by force: generation %d\n", c.Generation)
	}
	moving := c.Waiting + c.Copying + c.Switched
	switch {
	case moving > 0 && c.Paused:
		fmt.Fprintf(out, "moving is paused with %s left: kvstore cluster move-resume\n", plural(moving, "transfer"))
	case moving > 0:
		fmt.Fprintf(out, "%s: %d waiting, %d copying, %d switched\n", plural(moving, "transfer"), c.Waiting, c.Copying, c.Switched)
	case c.Paused:
		fmt.Fprintln(out, "nothing moves, and nothing will: moving is paused until kvstore cluster move-resume")
	default:
		fmt.Fprintln(out, "nothing moves")
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tMEMBER\tSTATE\tDC\tRACK\tWEIGHT\tPARTITIONS\tTO COME\tTO GO\tID")
	joining := 0
	for _, m := range c.Members {
		name := m.Name
		if m.ID == c.Self {
			name += "*"
		}
		if m.State == "joining" {
			joining++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", name, m.State, m.Alive, m.DC, m.Rack, weightText(m), share(m.Partitions, c.Partitions), m.To, m.From, m.ID)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if joining > 0 {
		fmt.Fprintf(out, "\n%s joining and waits for kvstore cluster commit; kvstore cluster plan shows what that does\n", plural(joining, "node"))
	}
	for _, m := range c.Members {
		if m.Alive == "dead" && m.State != "removed" && m.To+m.From > 0 {
			fmt.Fprintf(out, "\n%s is dead: %s with it wait until it is back; if it never comes back: kvstore cluster remove %s\n", m.Name, plural(m.To+m.From, "transfer"), m.Name)
		}
	}
	for _, m := range c.Members {
		if m.FullWeight > 0 {
			fmt.Fprintf(out, "\n%s takes a smaller part of its share because its disk was low (cluster.auto_weight): kvstore cluster weight %s %v gives it all\n", m.Name, m.Name, m.FullWeight)
		}
	}
	return writeMoving(out, c.Members)
}

// weightText is a weight, and of which it is a part.
func weightText(m admin.ClusterMember) string {
	if m.FullWeight == 0 {
		return fmt.Sprint(m.Weight)
	}
	return fmt.Sprintf("%v of %v", m.Weight, m.FullWeight)
}

// writeMoving prints the bars.
func writeMoving(out io.Writer, members []admin.ClusterMember) (err error) {
	first := true
	for _, m := range members {
		if m.Moves == nil {
			continue
		}
		if first {
			fmt.Fprintln(out)
			first = false
		}
		_, err = fmt.Fprintf(out, "%-8s %s\n", m.Name, movingLine(m.Moves))
	}
	return err
}

// movingLine is a bar, how far it is, how fast, and how long it may still take; and what is to be
// dropped, and what is in the way.
func movingLine(m *admin.NodeMoving) string {
	var parts []string
	if m.Planned > m.Done {
		parts = append(parts, movingBar(m))
	}
	if m.Dropping > 0 {
		parts = append(parts, plural(m.Dropping, "partition")+" to drop")
	}
	if m.Reason != "" {
		parts = append(parts, "held up: "+m.Reason)
	}
	return strings.Join(parts, "; ")
}

func movingBar(m *admin.NodeMoving) string {
	part := float64(m.Done + m.Copied)
	if m.AllBytes > 0 {
		part += float64(m.Moving-m.Copied) * min(float64(m.Bytes)/float64(m.AllBytes), 1)
	}
	filled := int(barWidth * min(part/float64(m.Planned), 1))
	line := fmt.Sprintf("[%s%s] %d of %s", strings.Repeat("#", filled), strings.Repeat("-", barWidth-filled), m.Done, plural(m.Planned, "partition"))
	if m.Moving > 0 {
		line += fmt.Sprintf(", %d moving", m.Moving)
	}
	if m.AllBytes > 0 {
		line += fmt.Sprintf(": %v of about %v", roughly(m.Bytes), roughly(m.AllBytes))
	}
	if m.Moving > 0 && m.Rate > 0 {
		line += fmt.Sprintf(", %v a second", roughly(int64(m.Rate)))
	}
	if m.SecondsLeft > 0 {
		line += fmt.Sprintf(", about %v left", duration(m.SecondsLeft))
	}
	return line
}
