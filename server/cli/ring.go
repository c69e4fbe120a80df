package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"kvstore/server/admin"
)

func runRing(s *shell, args []string) error {
	v := newInvocation("ring")
	file, asJSON, all := v.String("config", "", ""), v.Bool("json", false, ""), v.Bool("partitions", false, "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	addr, err := s.adminListen(*file, v.settings)
	if err != nil {
		return err
	}
	ring, err := admin.NewClient(addr).Ring(context.Background())
	if err != nil {
		return unanswered(addr, err)
	}
	switch {
	case *asJSON:
		return writeJSON(s.stdout, ring)
	case *all:
		return writePartitions(s.stdout, ring)
	}
	return writeRing(s.stdout, ring)
}

// writeRing prints what each member holds.
func writeRing(out io.Writer, ring admin.Ring) error {
	replicas, slots, primaries := map[string]int{}, map[string]int{}, map[string]int{}
	for _, p := range ring.Partitions {
		for i, id := range p.Replicas {
			replicas[id]++
			slots[id] += p.LastSlot - p.FirstSlot + 1
			if i == 0 {
				primaries[id]++
			}
		}
	}
	if len(ring.Partitions) == 0 {
		_, err := fmt.Fprintln(out, "the node is in no ring yet; its log says what it waits for")
		return err
	}
	fmt.Fprintf(out, "ring of cluster %s at epoch %d: %s of %s, %s\n\n", ring.ClusterID, ring.Epoch, plural(len(ring.Partitions), "partition"),
		plural(ring.Slots/len(ring.Partitions), "slot"), plural(len(ring.Members), "member"))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tADDRESS\tDC\tRACK\tWEIGHT\tPARTITIONS\tPRIMARY\tSLOTS\tID")
	for _, m := range ring.Members {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%v\t%s\t%s\t%d\t%s\n", m.Name, m.Address, m.DC, m.Rack, m.Weight,
			share(replicas[m.ID], len(ring.Partitions)), share(primaries[m.ID], len(ring.Partitions)), slots[m.ID], m.ID)
	}
	return table.Flush()
}

// writePartitions prints each partition's slots and its preference list.
func writePartitions(out io.Writer, ring admin.Ring) error {
	names := make(map[string]string, len(ring.Members))
	for _, m := range ring.Members {
		names[m.ID] = m.Name
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTITION\tSLOTS\tREPLICAS")
	for _, p := range ring.Partitions {
		held := make([]string, len(p.Replicas))
		for i, id := range p.Replicas {
			if held[i] = names[id]; held[i] == "" {
				held[i] = id
			}
		}
		fmt.Fprintf(table, "%d\t%d-%d\t%s\n", p.Partition, p.FirstSlot, p.LastSlot, strings.Join(held, " "))
	}
	return table.Flush()
}
