package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"kvstore/cluster"
	"kvstore/cluster/hot"
	"kvstore/server/admin"
)

// defaultTop is how many keys and partitions kvstore status --hot shows.
const defaultTop = 10

// hotOf asks all members what is hot.
func hotOf(ctx context.Context, n *cluster.Node, top int) admin.Hot {
	sum, silent := n.Hot(ctx, top)
	h := admin.Hot{HalfLife: hot.HalfLife.Seconds(), Members: 1, Silent: silent, Reads: sum.Reads, Writes: sum.Writes,
		Keys: []admin.HotKey{}, Partitions: []admin.HotPartition{}}
	r := n.Ring()
	if r == nil {
		return h // no request was answered yet
	}
	h.Members = len(r.Members)
	all := max(sum.Reads+sum.Writes, 1e-9)
	for _, k := range sum.Keys {
		p := r.PartitionOf(k.Token)
		row := admin.HotKey{Bytes: k.Size, Beginning: k.Size > len(k.Name), Database: int(k.DB), Reads: k.Reads, Writes: k.Writes,
			Share: min((k.Reads+k.Writes)/all, 1), Slot: int(k.Token.Slot()), Partition: int(p), Replicas: n.Holders(p)}
		row.Key = escaped(k.Name)
		if row.Key != string(k.Name) {
			row.Base64 = base64.StdEncoding.EncodeToString(k.Name)
		}
		h.Keys = append(h.Keys, row)
	}
	for _, p := range sum.Partitions {
		h.Partitions = append(h.Partitions, admin.HotPartition{Partition: int(p.Partition), Reads: p.Reads, Writes: p.Writes,
			Share: min((p.Reads+p.Writes)/all, 1), Replicas: n.Holders(p.Partition)})
	}
	return h
}

// escaped is a key as people read it: bytes that are no printable text as in Go.
func escaped(key []byte) string {
	quoted := strconv.Quote(string(key))
	return quoted[1 : len(quoted)-1]
}

func showHot(s *shell, addr string, top int, asJSON bool) error {
	h, err := admin.NewClient(addr).Hot(context.Background(), top)
	if err != nil {
		return unanswered(addr, err)
	}
	if asJSON {
		return writeJSON(s.stdout, h)
	}
	return writeHot(s.stdout, h)
}

// writeHot prints what is hot as tables for people.
func writeHot(out io.Writer, h admin.Hot) error {
	fmt.Fprintf(out, "%s reads and %s writes a second at %s; a request counts half after %vs\n",
		rate(h.Reads), rate(h.Writes), plural(h.Members-h.Silent, "node"), h.HalfLife)
	if h.Silent > 0 {
		fmt.Fprintf(out, "%s did not answer: what clients ask there is missing here\n", plural(h.Silent, "node"))
	}
	if len(h.Keys) == 0 {
		fmt.Fprintln(out, "no key stands out")
	} else {
		fmt.Fprintln(out)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "KEY\tDB\tREADS/S\tWRITES/S\tSHARE\tPARTITION\tREPLICAS")
		for _, k := range h.Keys {
			name := `"` + k.Key + `"`
			if k.Beginning {
				name += fmt.Sprintf("... (%d bytes)", k.Bytes)
			}
			fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%d\t%s\n", name, k.Database, rate(k.Reads), rate(k.Writes), percent(k.Share), k.Partition, strings.Join(k.Replicas, " "))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(h.Partitions) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTITION\tREADS/S\tWRITES/S\tSHARE\tREPLICAS")
	for _, p := range h.Partitions {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", p.Partition, rate(p.Reads), rate(p.Writes), percent(p.Share), strings.Join(p.Replicas, " "))
	}
	return table.Flush()
}

// rate is a number a second, with as many digits as it is worth.
func rate(v float64) string {
	if v > 0 && v < 10 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// percent is a share of one.
func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + "%" }

// hotGauges shows what is hot among the requests of this node's own clients, without naming keys.
func hotGauges(n *cluster.Node, gauge func(name, help string, v float64, labels ...string)) {
	r := n.HotHere()
	all, key, partition := r.Reads+r.Writes, 0.0, 0.0
	if all > 0 {
		if len(r.Keys) > 0 {
			key = min((r.Keys[0].Reads+r.Keys[0].Writes)/all, 1)
		}
		if len(r.Partitions) > 0 {
			partition = min((r.Partitions[0].Reads+r.Partitions[0].Writes)/all, 1)
		}
	}
	gauge("hottest_key_share", "Share of the busiest key in the requests of this node's clients, at least, of one.", key)
	gauge("hottest_partition_share", "Share of the busiest partition in the requests of this node's clients, of one.", partition)
	gauge("hot_keys", "Keys that are hot here: their reads are spread over their replicas.", float64(n.HotKeys()))
}
