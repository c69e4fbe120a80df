package cluster

import (
	"time"

	"kvstore/storage"
)

const (
	// slowWrite is how long a write to the log may take before the node takes its disk for slow: it goes to the kernel's
	// memory, mostly, and every client of a turn waits for it.
	slowWrite = 250 * time.Millisecond
	// slowFlush is the same of a flush where nobody waits for it: a disk that takes longer falls behind.
	slowFlush = 2 * time.Second
	// slowAlways is the same of a flush that every write waits for.
	slowAlways = 250 * time.Millisecond
)

// watchDisk finds out whether the node's disk is slow. The node says so, as when it is short of processor time: others
// make somebody else the soft primary, and ask it last. It comes with every round of watch, so that others hear it again
// before what they heard has passed.
func (n *Node) watchDisk() {
	write, flush := n.db.DiskDelay()
	slow := write >= slowWrite || flush >= slowFlush
	if n.o.Storage.Fsync == storage.SyncAlways {
		slow = slow || flush >= slowAlways
	}
	if was := n.coord.SlowDisk(); slow != was {
		n.coord.SetSlowDisk(slow)
		if slow {
			n.log.Warn().Dur("write", write).Dur("flush", flush).Msg("the disk is slow: others are preferred to this node for a while")
		} else {
			n.log.Info().Dur("write", write).Dur("flush", flush).Msg("the disk is no longer slow")
		}
	}
	if slow && n.telling.CompareAndSwap(false, true) {
		// What is told leaves behind the log, as everything does: the disk may hold it up, but not this round. Where not even
		// that gets through, the others find the node silent.
		n.wg.Go(func() {
			defer n.telling.Store(false)
			n.tellStrained()
		})
	}
}

// SlowDisk reports whether the node takes its disk for slow.
func (n *Node) SlowDisk() bool { return n.coord.SlowDisk() }
