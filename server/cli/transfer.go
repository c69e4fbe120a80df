package cli

import (
	"cmp"
	"fmt"
	"time"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/server/admin"
)

// transferLines are INFO's transfer section.
func transferLines(n *cluster.Node) (lines [][2]string) {
	line := func(name string, value any) { lines = append(lines, [2]string{name, fmt.Sprint(value)}) }
	p, m := n.Transfers(), n.TransferMetrics()
	line("paused", flagOf(p.Paused))
	line("waiting", p.Waiting)
	line("moving", len(p.Moving))
	line("keys", p.Keys)
	line("keys_total", p.AllKeys)
	line("bytes", p.Bytes)
	line("bytes_total", p.AllBytes)
	line("bytes_a_second", int64(p.Rate))
	line("seconds_left", int64(p.Left/time.Second))
	line("dropping", p.Dropping)
	line("copied", m.Copied.Load())
	line("dropped", m.Dropped.Load())
	line("moved_keys", m.Keys.Load())
	line("moved_bytes", m.Bytes.Load())
	line("failures", m.Failures.Load())
	if why := whyNot(&p); why != "" {
		line("obstacle", why)
	}
	for i := range p.Moving {
		if i == shownMoves {
			break
		}
		t := &p.Moving[i]
		line(fmt.Sprint("partition_", t.Partition), fmt.Sprintf("step=%v,from=%s,to=%s,keys=%d/%d,bytes=%d/%d,seconds_left=%d",
			t.Step, nodeText(n, t.From), nodeText(n, t.To), t.Keys, t.AllKeys, t.Bytes, t.AllBytes, int64(t.Left/time.Second)))
	}
	return lines
}

// shownMoves bounds the transfers that INFO lists one by one.
const shownMoves = 32

func flagOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

func nodeText(n *cluster.Node, id ring.NodeID) string {
	if id == 0 {
		return "none"
	}
	return n.NameOf(id)
}

// whyNot is what keeps transfers from going on, empty when nothing does.
func whyNot(p *cluster.Progress) string {
	why := cmp.Or(p.Reason, p.LeftWhy)
	for i := range p.Moving {
		why = cmp.Or(why, p.Moving[i].Reason)
	}
	return why
}

// transferSampler shows how partitions move.
func transferSampler(n *cluster.Node) admin.Sampler {
	return func(emit func(admin.Sample)) {
		p, m := n.Transfers(), n.TransferMetrics()
		for _, c := range []struct {
			name, help string
			value      uint64
		}{
			{"copied_total", "Partitions that came to this node.", m.Copied.Load()},
			{"dropped_total", "Partitions that this node dropped after they had left.", m.Dropped.Load()},
			{"keys_total", "Keys taken from other nodes, or given to them, by transfers.", m.Keys.Load()},
			{"bytes_total", "Bytes taken from other nodes, or given to them, by transfers.", m.Bytes.Load()},
			{"failures_total", "Attempts at a step of a transfer that were repeated.", m.Failures.Load()},
			{"ring_changes_total", "Changes of the ring that this node asked for to move partitions.", m.Changes.Load()},
		} {
			emit(admin.Sample{Name: "kvstore_transfer_" + c.name, Help: c.help, Value: float64(c.value)})
		}
		for _, g := range []struct {
			name, help string
			value      float64
		}{
			{"waiting", "Transfers that this node drives and has not begun.", float64(p.Waiting)},
			{"moving", "Transfers that this node drives and has begun.", float64(len(p.Moving))},
			{"dropping", "Partitions that have left this node and are still here.", float64(p.Dropping)},
			{"seconds_left", "How long this node's transfers take, at the rate so far; 0 when that is not known.", p.Left.Seconds()},
		} {
			emit(admin.Sample{Name: "kvstore_transfer_" + g.name, Help: g.help, Kind: admin.Gauge, Value: g.value})
		}
	}
}

// transfersOf lists the transfers of a ring.
func transfersOf(r *ring.Ring) (out []admin.Transfer) {
	text := func(id ring.NodeID) string {
		if id == 0 {
			return ""
		}
		return id.String()
	}
	for _, t := range r.Transfers {
		out = append(out, admin.Transfer{Partition: int(t.Partition), From: text(t.From), To: text(t.To), Step: t.Step.String()})
	}
	return out
}

// movesOf sums up how far a node is; nil when it has nothing to do.
func movesOf(n *cluster.Node) *admin.Moves {
	p := n.Transfers()
	if p.Waiting == 0 && len(p.Moving) == 0 && p.Dropping == 0 && !p.Paused {
		return nil
	}
	return &admin.Moves{
		Paused: p.Paused, Waiting: p.Waiting, Moving: len(p.Moving), Keys: p.Keys, AllKeys: p.AllKeys, Bytes: p.Bytes, AllBytes: p.AllBytes,
		BytesASecond: p.Rate, SecondsLeft: p.Left.Seconds(), Dropping: p.Dropping, Reason: whyNot(&p),
	}
}
