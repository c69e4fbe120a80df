package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/server/admin"
)

// operated is what an operator needs of a node.
type operated interface {
	Ring() *ring.Ring
	Self() ring.Member
	// State is alive, suspect or dead.
	State(id ring.NodeID) string
	Change(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (*ring.Ring, error)
	Recover(ctx context.Context) error
	Reports(ctx context.Context, holds bool) map[ring.NodeID]*cluster.Report
}

// operator is a node as package admin changes its cluster.
type operator struct {
	node operated
	rate func() int64 // transfer.rate of now
}

var errNoRing = errors.New("the node is in no ring yet; its log says what it waits for, or ask another with --admin.listen=HOST:PORT")

// Cluster implements admin.Operator.
func (o operator) Cluster(ctx context.Context) (admin.Cluster, error) {
	r := o.node.Ring()
	if r == nil {
		return admin.Cluster{}, errNoRing
	}
	out := admin.Cluster{ClusterID: clusterID(r), Self: o.node.Self().ID.String(), Generation: r.Generation, Epoch: uint64(r.Epoch),
		Planned: uint64(r.Planned), Partitions: r.Q, Replicas: r.N, Paused: r.Paused}
	for _, dc := range r.PerDC {
		if out.PerDC == nil {
			out.PerDC = make(map[string]int)
		}
		out.PerDC[dc.DC] = dc.N
	}
	members := make(map[ring.NodeID]*admin.ClusterMember, len(r.Members))
	out.Members = make([]admin.ClusterMember, len(r.Members))
	reports := o.node.Reports(ctx, false)
	for i := range r.Members {
		m, row := &r.Members[i], &out.Members[i]
		members[m.ID] = row
		*row = admin.ClusterMember{ID: m.ID.String(), Name: m.Name, DC: m.DC, Rack: m.Rack, Weight: m.Weight, State: m.State.String(),
			FullWeight: m.Full, Alive: o.node.State(m.ID), Moves: movingOf(reports[m.ID])}
		if report := reports[m.ID]; report != nil {
			row.DiskFree, row.DiskStored = report.Free, report.Stored
		}
	}
	for p := range ring.Partition(r.Q) {
		for _, id := range r.Replicas(p) {
			members[id].Partitions++
		}
	}
	for _, t := range r.Transfers {
		switch t.Step {
		case ring.Waiting:
			out.Waiting++
		case ring.Copying:
			out.Copying++
		default:
			out.Switched++
		}
		if to := members[t.To]; to != nil {
			to.To++
		}
		if from := members[t.From]; from != nil {
			from.From++
		}
	}
	return out, nil
}

// movingOf is how far a node is, nil when it has nothing to do.
func movingOf(r *cluster.Report) *admin.NodeMoving {
	if r == nil || r.Waiting+r.Moving+r.Dropping == 0 {
		return nil
	}
	return &admin.NodeMoving{Planned: r.Planned, Done: r.Planned - r.Waiting - r.Moving, Moving: r.Moving, Copied: r.Copied, Keys: r.Keys, AllKeys: r.AllKeys,
		Bytes: r.Bytes, AllBytes: r.AllBytes, Rate: r.Rate, SecondsLeft: r.Left.Seconds(), Dropping: r.Dropping, Reason: r.Reason}
}

// Plan implements admin.Operator.
func (o operator) Plan(ctx context.Context, c admin.Change) (admin.Plan, error) {
	r := o.node.Ring()
	if r == nil {
		return admin.Plan{}, errNoRing
	}
	changes, err := changesOf(r, c)
	if err != nil {
		return admin.Plan{}, err
	}
	next, plan, err := ring.Replan(r, changes...)
	if err != nil {
		return admin.Plan{}, err
	}
	out := o.describe(r, next, plan, o.node.Reports(ctx, true))
	out.Notes = append(out.Notes, o.warnings(r, c)...)
	if next.N < r.N {
		out.Notes = append(out.Notes, few(next.N)...)
	}
	return out, nil
}

// warnings tells of changes that fit another state of a node than the one it is in.
func (o operator) warnings(r *ring.Ring, c admin.Change) (notes []string) {
	self := o.node.Self().Name
	for _, name := range c.Remove {
		if m, err := memberNamed(r, name); err == nil && o.node.State(m.ID) == "alive" {
			notes = append(notes, fmt.Sprintf("%s is alive, as %s sees it; removing it shuts it out with all it holds, while decommissioning it moves that away first", m.Name, self))
		}
	}
	for _, name := range c.Decommission {
		if m, err := memberNamed(r, name); err == nil && o.node.State(m.ID) == "dead" {
			notes = append(notes, fmt.Sprintf("%s is dead, as %s sees it; what it holds waits until it is back, while removing it has the others filled from each other", m.Name, self))
		}
	}
	for _, x := range c.Replace {
		if m, err := memberNamed(r, x.Old); err == nil && m.State != ring.Removed && !slices.Contains(c.Remove, x.Old) && o.node.State(m.ID) == "dead" {
			notes = append(notes, fmt.Sprintf("%s is dead, as %s sees it; what it holds waits until it is back; if it never comes back, kvstore cluster remove %s has %s filled by the others",
				m.Name, self, m.Name, x.New))
		}
	}
	return notes
}

// few tells what so few replicas mean.
func few(n int) []string {
	switch n {
	case 1:
		return []string{"with 1 replica what a node has is nowhere else: it cannot be read while the node is away, and is lost with its disk"}
	case 2:
		return []string{"with 2 replicas a quorum is both of them: in strict mode what a node has cannot be read or written by quorum while it is away"}
	}
	return nil
}

// describe puts the ring's plan into the words of the HTTP side, with sizes.
func (o operator) describe(r, next *ring.Ring, plan *ring.Plan, reports map[ring.NodeID]*cluster.Report) admin.Plan {
	out := admin.Plan{Epoch: uint64(r.Epoch), Changes: next != r, Transfers: len(plan.Transfers), Moves: plan.Moves(), LeastMove: plan.MinMoves,
		Before: ring.ReplicationText(r.N, r.PerDC), After: ring.ReplicationText(next.N, next.PerDC),
		Rate: o.rate(), Paused: next.Paused, Notes: slices.Concat([]string{}, plan.Notes), Nodes: make([]admin.PlanShare, len(plan.PerNode))}
	rows := make(map[ring.NodeID]*admin.PlanShare, len(plan.PerNode))
	for i, s := range plan.PerNode {
		m := next.Member(s.ID)
		out.Nodes[i] = admin.PlanShare{ID: s.ID.String(), Name: m.Name, DC: m.DC, Rack: m.Rack, State: m.State.String(), Weight: s.Weight,
			Before: s.Before, After: s.After, BeforeShare: s.BeforePart, AfterShare: s.AfterPart}
		rows[s.ID] = &out.Nodes[i]
	}
	for _, t := range plan.Transfers {
		if t.To == 0 {
			continue
		}
		source, keys, bytes := sizeOf(r, t, reports)
		if source == 0 {
			out.Unsized++
			continue
		}
		out.Keys, out.Bytes = out.Keys+keys, out.Bytes+bytes
		rows[t.To].InBytes += bytes
		rows[t.To].InKeys += keys
		if from := rows[source]; from != nil {
			from.OutBytes += bytes
			from.OutKeys += keys
		}
	}
	entering := make(map[ring.NodeID]int, len(rows))
	for _, t := range plan.Transfers {
		entering[t.To]++
	}
	for i := range plan.PerNode {
		id := plan.PerNode[i].ID
		takes := paceOf(reports[id], o.rate())
		if s := takes.seconds(rows[id].InBytes, entering[id]); s > out.Seconds {
			out.Seconds, out.Rate, out.Measured, out.Parallel = s, takes.rate, takes.measured, takes.parallel
		}
	}
	return out
}

// Commit implements admin.Operator.
func (o operator) Commit(ctx context.Context, c admin.Change) (admin.Changed, error) {
	return o.change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
		changes, err := changesOf(r, c)
		if err != nil {
			return nil, err
		}
		next, _, err := ring.Replan(r, changes...)
		return next, err
	})
}

// Abort implements admin.Operator.
func (o operator) Abort(ctx context.Context) (admin.Changed, error) { return o.change(ctx, ring.Abort) }

// Pause implements admin.Operator.
func (o operator) Pause(ctx context.Context, paused bool) (admin.Changed, error) {
	return o.change(ctx, func(r *ring.Ring) (*ring.Ring, error) { return ring.Pause(r, paused) })
}

// Recover implements admin.Operator.
func (o operator) Recover(ctx context.Context) (admin.Changed, error) {
	before := o.node.Ring()
	if before == nil {
		return admin.Changed{}, errNoRing
	}
	if err := o.node.Recover(ctx); err != nil {
		return admin.Changed{}, err
	}
	r := o.node.Ring()
	out := changedTo(r, true)
	if lost := lostIn(before, r); lost > 0 {
		out.Note = fmt.Sprintf("nobody who is left had %d of %s: they begin empty", lost, plural(r.Q, "partition"))
	}
	return out, nil
}

// lostIn counts the partitions of which every holder has been removed.
func lostIn(before, r *ring.Ring) (lost int) {
	for p := range ring.Partition(before.Q) {
		if !slices.ContainsFunc(before.Replicas(p), func(id ring.NodeID) bool {
			m := r.Member(id)
			return m != nil && m.State != ring.Removed
		}) {
			lost++
		}
	}
	return lost
}

// change has the ring changed, and says what is done about a majority that is missing.
func (o operator) change(ctx context.Context, f func(*ring.Ring) (*ring.Ring, error)) (admin.Changed, error) {
	if o.node.Ring() == nil {
		return admin.Changed{}, errNoRing
	}
	changed := false
	r, err := o.node.Change(ctx, func(r *ring.Ring) (*ring.Ring, error) {
		next, err := f(r)
		changed = changed || err == nil && next != r
		return next, err
	})
	missing, ok := errors.AsType[*cluster.NoMajority](err)
	switch {
	case ok && !missing.Chosen:
		return admin.Changed{}, fmt.Errorf("%w; bring them back, or if they are gone for good: kvstore cluster recover --force", err)
	case r == nil || err != nil && !ok:
		return admin.Changed{}, err
	}
	out := changedTo(r, changed)
	if err != nil {
		out.Note = err.Error()
	}
	return out, nil
}

func changedTo(r *ring.Ring, changed bool) admin.Changed {
	return admin.Changed{Epoch: uint64(r.Epoch), Changed: changed, Transfers: len(r.Transfers), Paused: r.Paused}
}

// changesOf says in the ring's terms what is to become different.
func changesOf(r *ring.Ring, c admin.Change) (changes []ring.Change, err error) {
	if c.Epoch != 0 {
		changes = append(changes, ring.AsOf{Epoch: ring.Epoch(c.Epoch)})
	}
	if c.Commit || len(c.Decommission)+len(c.Remove)+len(c.Replace)+len(c.Weight) == 0 && c.Replication == nil {
		changes = append(changes, ring.Commit{})
	}
	if c.Replication != nil {
		changes = append(changes, replicationOf(c.Replication))
	}
	id := func(name string) ring.NodeID {
		m, e := memberNamed(r, name)
		err = cmp.Or(err, e)
		return m.ID
	}
	for _, w := range c.Weight {
		changes = append(changes, ring.Weight{ID: id(w.Node), W: w.Weight})
	}
	for _, x := range c.Replace {
		changes = append(changes, ring.Replace{Old: id(x.Old), New: id(x.New)})
	}
	for _, name := range c.Remove {
		changes = append(changes, ring.Remove{ID: id(name), Lose: c.Lose})
	}
	for _, name := range c.Decommission {
		changes = append(changes, ring.Decommission{ID: id(name)})
	}
	return changes, err
}

// replicationOf says in the ring's terms how many replicas are asked for.
func replicationOf(r *admin.Replication) ring.Replication {
	out := ring.Replication{N: r.N}
	for dc, n := range r.PerDC {
		out.PerDC = append(out.PerDC, ring.DCReplicas{DC: dc, N: n})
	}
	slices.SortFunc(out.PerDC, func(a, b ring.DCReplicas) int { return cmp.Compare(a.DC, b.DC) })
	return out
}

func replicationText(r *admin.Replication) string {
	out := replicationOf(r)
	return ring.ReplicationText(out.N, out.PerDC)
}

// memberNamed finds a member by its name or its id.
func memberNamed(r *ring.Ring, name string) (ring.Member, error) {
	var found, all []string
	var member ring.Member
	for _, m := range r.Members {
		all = append(all, m.Name)
		if m.Name == name || m.ID.String() == name {
			found, member = append(found, fmt.Sprintf("%v (%v)", m.ID, m.State)), m
		}
	}
	switch len(found) {
	case 1:
		return member, nil
	case 0:
		for _, g := range r.Gone {
			if g.Name == name || g.ID.String() == name {
				return ring.Member{}, r.Refusal(g.ID, g.Name)
			}
		}
		return ring.Member{}, fmt.Errorf("there is no member %q; the members are %s", name, strings.Join(all, ", "))
	}
	return ring.Member{}, fmt.Errorf("several members are named %q: %s; give the id", name, strings.Join(found, ", "))
}
