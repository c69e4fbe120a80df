package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/config"
	"kvstore/server/admin"
)

// followEvery is how often a repair under way is asked after.
const followEvery = 200 * time.Millisecond

func runRepair(s *shell, args []string) error {
	v := newInvocation("repair")
	file, partition, asJSON := v.String("config", "", ""), v.Int("partition", -1, ""), v.Bool("json", false, "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	if *partition < -1 {
		return usageError(fmt.Sprintf("partition %d: partitions are counted from 0", *partition))
	}
	addr, err := s.adminListen(*file, v.settings)
	if err != nil {
		return err
	}
	client := admin.NewClient(addr)
	ctx := context.Background()
	r, err := client.StartRepair(ctx, *partition)
	for err == nil && r.Running {
		if !*asJSON {
			fmt.Fprintf(s.stderr, "\r%s", progress(r))
		}
		time.Sleep(followEvery)
		r, err = client.Repair(ctx)
	}
	if err != nil {
		return unanswered(addr, err)
	}
	if *asJSON {
		err = writeJSON(s.stdout, r)
	} else {
		fmt.Fprintf(s.stderr, "\r%s\n", progress(r))
		err = writeRepair(s.stdout, r)
	}
	if err == nil && r.Incomplete > 0 {
		err = errors.New(plural(r.Incomplete, "partition") + " could not be brought level among all replicas; what could be reached is level")
	}
	return err
}

// barWidth is how many characters the bar has.
const barWidth = 30

// progress is one line: a bar, how far it is, and how long it may still take.
func progress(r admin.Repair) string {
	filled := barWidth
	if r.Partitions > 0 {
		filled = barWidth * r.Done / r.Partitions
	}
	line := fmt.Sprintf("[%s%s] %d of %s", strings.Repeat("#", filled), strings.Repeat("-", barWidth-filled), r.Done, plural(r.Partitions, "partition"))
	if r.Running && r.Done > 0 {
		left := time.Duration(r.Seconds / float64(r.Done) * float64(r.Partitions-r.Done) * float64(time.Second))
		line += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	return fmt.Sprintf("%-72s", line)
}

// writeRepair sums up a repair that has ended.
func writeRepair(out io.Writer, r admin.Repair) error {
	_, err := fmt.Fprintf(out, "compared %s with %s in %.1fs: %s differed, %v moved\n",
		plural(r.Partitions, "partition"), plural(int(r.Keys), "key"), r.Seconds, plural(int(r.Differing), "key"), config.ByteSize(r.MovedBytes))
	for _, e := range r.Errors {
		_, err = fmt.Fprintln(out, "incomplete:", e)
	}
	if r.Refill != nil {
		_, err = fmt.Fprintln(out, "the node is being filled by the others:", refillLine(r.Refill))
	}
	return err
}

// repairer is a node as package admin repairs it.
type repairer struct{ node *cluster.Node }

// Repair implements admin.Repairer.
func (r repairer) Repair(partition int) (bool, error) {
	if partition >= 0 {
		return r.node.Repair(ring.Partition(min(partition, 1<<16-1)), ring.Partition(min(partition, 1<<16-1)))
	}
	known := r.node.Ring()
	if known == nil {
		return false, errors.New("the node is in no ring yet")
	}
	return r.node.Repair(0, ring.Partition(known.Q-1))
}

// Repaired implements admin.Repairer.
func (r repairer) Repaired() admin.Repair {
	out := admin.Repair{Filling: r.node.Entropy().Filling.Load(), Refill: refillOf(r.node)}
	j := r.node.LastRepair()
	if j == nil {
		return out
	}
	out.Known, out.Running = true, j.Ended.IsZero()
	out.Partitions, out.Done, out.Incomplete = j.Partitions, j.Done, j.Incomplete
	out.Keys, out.Differing, out.MovedBytes = j.Keys, j.Differing, j.Moved
	out.Began, out.Errors = j.Began, j.Errors
	if end := j.Ended; out.Running {
		out.Seconds = time.Since(j.Began).Seconds()
	} else {
		out.Seconds = end.Sub(j.Began).Seconds()
	}
	return out
}

// refillOf is how far others have filled a node's copies, nil when they fill none.
func refillOf(n *cluster.Node) *admin.Refill {
	f, now := n.LastRefill(), time.Now()
	if f.Began.IsZero() || !f.Ended.IsZero() {
		return nil
	}
	return &admin.Refill{
		Partitions: f.Partitions, Done: f.Done, Percent: 100 * f.Done / max(f.Partitions, 1), Keys: f.Keys, Bytes: f.Bytes,
		Seconds: now.Sub(f.Began).Seconds(), SecondsLeft: f.Left(now).Seconds(),
	}
}

// refillLine says it to people.
func refillLine(f *admin.Refill) string {
	line := fmt.Sprintf("%s to go, %d%% done, %s and %v taken over", plural(f.Partitions-f.Done, "partition"), f.Percent, plural(int(f.Keys), "key"), config.ByteSize(f.Bytes))
	if f.SecondsLeft > 0 {
		line += fmt.Sprintf(", about %v left", time.Duration(f.SecondsLeft*float64(time.Second)).Round(time.Second))
	}
	return line
}

// repairLines are INFO's repair section.
func repairLines(n *cluster.Node) (lines [][2]string) {
	line := func(name string, value any) { lines = append(lines, [2]string{name, fmt.Sprint(value)}) }
	m := n.Entropy()
	line("rounds", m.Rounds.Load())
	line("rounds_incomplete", m.Incomplete.Load())
	line("keys_compared", m.Keys.Load())
	line("keys_differing", m.Differing.Load())
	line("moved_bytes", m.Moved.Load())
	line("collected", m.Collected.Load())
	line("leaves_summed_anew", m.Rebuilt.Load())
	line("partitions_filled", m.Filled.Load())
	line("partitions_filling", m.Filling.Load())
	if f := refillOf(n); f != nil {
		line("filling", fmt.Sprintf("partitions=%d,done=%d,percent=%d,keys=%d,bytes=%d,seconds=%.0f,seconds_left=%.0f", f.Partitions, f.Done, f.Percent, f.Keys, f.Bytes, f.Seconds, f.SecondsLeft))
	}
	line("partitions_unsettled", n.Unsettled())
	if r := (repairer{n}).Repaired(); r.Running {
		line("running", fmt.Sprintf("partitions=%d,done=%d,keys=%d,differing=%d", r.Partitions, r.Done, r.Keys, r.Differing))
	}
	return lines
}

// repairSampler shows how replicas are kept level.
func repairSampler(n *cluster.Node) admin.Sampler {
	return func(emit func(admin.Sample)) {
		m := n.Entropy()
		for _, c := range []struct {
			name, help string
			value      uint64
		}{
			{"rounds_total", "Comparisons of a partition that ended equal among all replicas.", m.Rounds.Load()},
			{"rounds_incomplete_total", "Comparisons of a partition that did not.", m.Incomplete.Load()},
			{"keys_total", "Keys compared.", m.Keys.Load()},
			{"differing_keys_total", "Keys that differed.", m.Differing.Load()},
			{"moved_bytes_total", "Bytes exchanged to compare and repair.", m.Moved.Load()},
			{"collected_total", "Remains of deleted and expired keys removed.", m.Collected.Load()},
			{"leaves_rebuilt_total", "Leaves whose sums were made anew.", m.Rebuilt.Load()},
			{"filled_total", "Partitions filled by other replicas.", m.Filled.Load()},
		} {
			emit(admin.Sample{Name: "kvstore_repair_" + c.name, Help: c.help, Value: float64(c.value)})
		}
		emit(admin.Sample{Name: "kvstore_repair_filling", Help: "Partitions being filled, which answer no reads here.", Kind: admin.Gauge, Value: float64(m.Filling.Load())})
		emit(admin.Sample{Name: "kvstore_partitions_unsettled", Help: "Partitions that others may have written without this node.", Kind: admin.Gauge, Value: float64(n.Unsettled())})
	}
}
