package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Shutdown leaves the cluster and closes the directory. Requests under way end
// with an error; the caller has answered its clients before.
func (n *Node) Shutdown(ctx context.Context) error {
	var err error
	n.shutdown.Do(func() { err = n.stop(ctx) })
	return err
}

// leaveWithin bounds how long a parting node tells the others: gossip needs
// about a second for it.
const leaveWithin = 3 * time.Second

// partWithin bounds how long a parting node waits until the others have heard it.
const partWithin = 500 * time.Millisecond

// part tells the others that the node leaves. Gossip does too, but it cannot be told
// there from a node that is found dead, which the answers of the one that leaves would
// contradict until its connections are closed.
func (n *Node) part() {
	r := n.ring.Load()
	if r == nil || n.rpc == nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, partWithin)
	defer cancel()
	var wg sync.WaitGroup
	for i := range r.Members {
		if id := r.Members[i].ID; id != n.id.Node && n.rpc.Connected(id) {
			// Who does not hear it finds the connection closed.
			wg.Go(func() { _, _ = n.call(ctx, id, methodParting, nil) })
		}
	}
	wg.Wait()
}

func (n *Node) stop(context.Context) error {
	var errs []error
	n.part()
	n.cancel()
	n.register.proposer.Close()
	if n.gossip != nil {
		if err := n.gossip.Leave(leaveWithin); err != nil {
			// They will find out that it is gone.
			n.log.Warn().Err(err).Msg("not everybody was told that the node leaves")
		}
	}
	n.EndTurn()
	n.moves.Close()
	n.entropy.Close()
	n.coord.Close()
	n.EndTurn() // for what Close completed
	n.calls.close()
	n.wg.Wait()
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.rpc != nil {
		errs = append(errs, n.rpc.Close())
	}
	n.replica.Close()
	n.turns.stop()
	healthy := n.db.WriteError() == nil
	if healthy {
		errs = append(errs, n.db.Commit())
	}
	errs = append(errs, n.db.Close())
	if err := errors.Join(errs...); err != nil || !healthy {
		return err
	}
	id := n.id
	if next := n.successor.Load(); next != nil {
		id = *next
	}
	id.Clean, id.Left = true, n.left.Load()
	// No timestamp is issued any more, so the next start need not wait for what
	// was reserved and not used.
	return errors.Join(saveClock(n.fs, n.o.Dir, n.clock.Last()), id.save(n.fs, n.o.Dir))
}
