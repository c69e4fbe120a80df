package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kvstore/cluster/backup"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// backups are what the node writes for a day on which its disk is lost.
type backups struct {
	mu    sync.Mutex
	last  *Backup      // guarded by mu; nil before the first
	bytes atomic.Int64 // that the one under way has verified
}

// Backup is a backup under way, or the last one.
type Backup struct {
	Dir          string
	Began, Ended time.Time // Ended is zero while it is under way
	Err          error
	Bytes        int64            // verified so far
	Total        int64            // to be verified; 0 before the engine's part is written
	Manifest     *backup.Manifest // of one that has ended well
	Transfers    int              // that the ring of the backup had under way or planned
}

// ErrBackup says that a backup is under way already.
var ErrBackup = errors.New("a backup is under way already")

// StartBackup begins to write a backup of the node to a new directory of its own machine; LastBackup follows it. What a
// backup is stands in package backup, what becomes of it at Restore.
func (n *Node) StartBackup(dir string) error {
	dir, err := n.backupDir(dir)
	if err != nil {
		return err
	}
	claim, err := backup.NewClaim(n.fs, dir)
	if err != nil {
		return explainBackup(dir, err)
	}
	if err := n.beginBackup(dir, claim); err != nil {
		return errors.Join(err, claim.Discard())
	}
	return nil
}

// beginBackup writes a backup to a directory that is claimed for it, unless another one is under way.
func (n *Node) beginBackup(dir string, claim *backup.Claim) error {
	n.backups.mu.Lock()
	defer n.backups.mu.Unlock()
	switch {
	case n.ctx.Err() != nil:
		return errors.New("the node is shutting down")
	case n.backups.last != nil && n.backups.last.Ended.IsZero():
		return ErrBackup
	}
	n.backups.last = &Backup{Dir: dir, Began: n.o.Now()}
	n.backups.bytes.Store(0)
	n.wg.Go(func() {
		m, err := n.writeBackup(dir)
		if err == nil {
			left := claim.Keep()
			n.log.Info().AnErr("left", left).Str("dir", dir).Int("files", len(m.Files)).Int64("bytes", m.Bytes()).Msg("the backup is written")
		} else {
			err = explainBackup(dir, err)
			left := claim.Discard()
			n.log.Error().Err(err).AnErr("left", left).Str("dir", dir).Msg("the backup failed")
		}
		n.backups.mu.Lock()
		defer n.backups.mu.Unlock()
		n.backups.last.Manifest, n.backups.last.Err, n.backups.last.Ended = m, err, n.o.Now()
	})
	return nil
}

// LastBackup returns the backup under way or the last one, nil when there was none since the start.
func (n *Node) LastBackup() *Backup {
	n.backups.mu.Lock()
	defer n.backups.mu.Unlock()
	if n.backups.last == nil {
		return nil
	}
	b := *n.backups.last
	b.Bytes = n.backups.bytes.Load()
	return &b
}

// backupDir checks where a backup is to be.
func (n *Node) backupDir(dir string) (clean string, err error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("the backup's directory %q is on the node's machine and needs its whole path, such as /var/backups/kvstore/monday", dir)
	}
	dir = filepath.Clean(dir)
	own, err := filepath.Abs(n.o.Dir)
	if err != nil {
		return "", fmt.Errorf("find storage.dir: %w", err)
	}
	if rest, err := filepath.Rel(own, dir); err == nil && rest != ".." && !strings.HasPrefix(rest, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("%s is in the node's own directory %s: name one beside it", dir, own)
	}
	switch filling := n.entropy.Metrics.Filling.Load(); {
	case n.ring.Load() == nil:
		return "", errors.New("the node is in no ring yet, and has nothing to back up")
	case filling > 0:
		return "", fmt.Errorf("the node is being filled by the others, %d partitions are to go: back it up when kvstore status says nothing of that any more", filling)
	}
	return dir, nil
}

func explainBackup(dir string, err error) error {
	switch {
	case vfs.IsFull(err):
		return fmt.Errorf("the disk of %s is full: nothing is backed up", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the node may not write to %s: %w", dir, err)
	case errors.Is(err, context.Canceled):
		return errors.New("the node was shut down meanwhile")
	}
	return err
}

// writeBackup writes the engine as it is now, and then what says whose it is.
func (n *Node) writeBackup(dir string) (*backup.Manifest, error) {
	m := &backup.Manifest{Cluster: n.o.ClusterName, Node: n.o.Name, NodeID: n.id.Node.String(), Began: n.o.Now().UTC()}
	r := n.ring.Load()
	if err := n.db.Checkpoint(n.ctx, dir); err != nil {
		return nil, err
	}
	m.Ended = n.o.Now().UTC()
	if n.ring.Load() != r {
		// The engine may have dropped or taken in what one of the rings says is there.
		return nil, errors.New("the ring has changed meanwhile: do it again, and if partitions are moving, once kvstore cluster status shows none, or after kvstore cluster move-pause")
	}
	m.ClusterID, m.Generation, m.Epoch = ring.NodeID(r.ClusterID).String(), r.Generation, uint64(r.Epoch)
	m.RingHash = fmt.Sprintf("%016x", r.Hash())
	// The clock comes after the engine: what it has reserved is beyond all that the engine has.
	clock, err := vfs.ReadFile(n.fs, filepath.Join(n.o.Dir, clockName))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", clockName, err)
	}
	if err := errors.Join(writeDurably(n.fs, dir, clockName, clock), writeDurably(n.fs, dir, ringName, r.Encode()), n.id.save(n.fs, dir)); err != nil {
		return nil, err
	}
	if err := n.sumBackup(dir, m); err != nil {
		return nil, err
	}
	n.backups.mu.Lock()
	n.backups.last.Transfers = len(r.Transfers)
	n.backups.mu.Unlock()
	return m, m.Save(n.fs, dir)
}

// sumBackup reads what was written once more, for its sums.
func (n *Node) sumBackup(dir string, m *backup.Manifest) (err error) {
	names, err := n.fs.List(dir)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, name := range names {
		if name == storage.LockName {
			continue // the claim
		}
		info, err := n.fs.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		total += info.Size
	}
	n.backups.mu.Lock()
	n.backups.last.Total = total
	n.backups.mu.Unlock()
	m.Files, err = backup.Sum(n.ctx, n.fs, dir, func(read int64) { n.backups.bytes.Add(read) })
	return err
}
