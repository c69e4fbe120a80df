package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"kvstore/cluster/backup"
	"kvstore/cluster/consensus"
	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/storage/vfs"
)

// RestoreOptions say what a directory is made of, and what it is to be.
type RestoreOptions struct {
	FS     vfs.FS
	Backup string // the directory of a backup
	Dir    string // the directory that a node is to be started with; absent or empty
	// All, when set, is the word of a new life: all nodes of the cluster are restored with the same one. Else the node
	// goes back to its cluster, which lives.
	All string
	// ClusterName is that of the new life.
	ClusterName string
	// Ring, when set, is the directory of the backup of another node, whose ring the new life begins with.
	Ring string
	Now  func() time.Time
}

// Restored is what became of a backup.
type Restored struct {
	Manifest  *backup.Manifest
	Whole     bool   // a new life
	ClusterID uint64 // of the new life: the same at every node that belongs to it
	Cluster   string
	Members   []string // of the new life
}

// restoringName is in a directory as long as it is only half restored.
const restoringName = "restoring"

// Restore makes a data directory of a backup.
//
// Of a node whose cluster lives it is a copy, and says so. The node that is started with it takes its place in a new
// incarnation, has no vote before the ring knows it, and is brought level before it answers reads, as any old copy is:
// see markOld.
//
// Of all nodes of a cluster, none of which lives any more, it is the beginning of a new life. Nobody could bring the
// nodes level, and no vote would count. So each of them begins with the same ring, in which all have new incarnations
// and votes, and with what its engine had: ring.Rebirth. New incarnations, because a backup of one node may have writes
// of another one that are younger than that one's backup. Tables of different backups differ as replicas do after a
// partition, and come level as those do.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	m, err := backup.Load(o.FS, o.Backup)
	if err != nil {
		return nil, err
	}
	r, err := ringOf(o.FS, o.Backup)
	if err != nil {
		return nil, err
	}
	out := &Restored{Manifest: m, Whole: o.All != "", Cluster: r.ClusterName, ClusterID: r.ClusterID}
	if len(r.Voters()) == 1 && o.All == "" {
		// There is nobody who could bring it level. But who waits to be taken in belongs to the life there was, and would be shut
		// out by the new one.
		if names := joining(r); len(names) > 0 {
			return nil, fmt.Errorf("node %s is the only one of cluster %s with data and a vote, and %s still wait for a part: only a new life is possible, which they have to begin anew, too; say --all=WORD for it, and start them with empty directories", m.Node, r.ClusterName, strings.Join(names, ", "))
		}
		out.Whole, o.All, o.ClusterName = true, fmt.Sprintf("%x", random64()), r.ClusterName
	}
	id, err := identityOf(o.FS, o.Backup)
	if err != nil {
		return nil, err
	}
	if out.Whole {
		if r, err = rebirth(&o, r, id.Node, m.Node); err != nil {
			return nil, err
		}
		out.ClusterID, out.Cluster = r.ClusterID, r.ClusterName
		for i := range r.Members {
			out.Members = append(out.Members, r.Members[i].Name)
		}
	}
	existed, err := restoreRoom(&o, m)
	if err != nil {
		return nil, err
	}
	if err := o.restore(ctx, m, id, r, out.Whole); err != nil {
		if vfs.IsFull(err) {
			err = fmt.Errorf("the disk of %s is full: nothing is restored", o.Dir)
		}
		return nil, errors.Join(err, backup.Discard(o.FS, o.Dir, existed))
	}
	return out, nil
}

// joining returns the names of the members that are taken in and have no part yet.
func joining(r *ring.Ring) (names []string) {
	for i := range r.Members {
		if m := &r.Members[i]; m.State == ring.Joining {
			names = append(names, m.Name)
		}
	}
	return names
}

// ringOf reads the ring of a backup.
func ringOf(fsys vfs.FS, dir string) (*ring.Ring, error) {
	r, _, err := loadRing(fsys, dir)
	if err == nil && r == nil {
		err = fmt.Errorf("the backup lacks its file %s", ringName)
	}
	return r, err
}

// rebirth makes the ring of the new life.
func rebirth(o *RestoreOptions, r *ring.Ring, id ring.NodeID, name string) (*ring.Ring, error) {
	if o.Ring != "" {
		newest, err := ringOf(o.FS, o.Ring)
		if err != nil {
			return nil, err
		}
		m := newest.Member(id)
		switch missing := newest.Missing(r, id); {
		case newest.ClusterID != r.ClusterID:
			return nil, fmt.Errorf("%s is a backup of another cluster", o.Ring)
		case r.NewerThan(newest):
			return nil, fmt.Errorf("the ring of %s, of epoch %d, is older than that of this backup, of epoch %d: take the newest of all backups", o.Ring, newest.Epoch, r.Epoch)
		case m == nil || m.State == ring.Removed:
			return nil, fmt.Errorf("node %s is no member any more by the ring of %s: leave it out", name, o.Ring)
		case len(missing) > 0:
			return nil, fmt.Errorf("by the ring of %s, node %s holds %d partitions that it did not have when it was backed up: take backups that were made while nothing moved", o.Ring, name, len(missing))
		}
		r = newest
	}
	return ring.Rebirth(r, o.ClusterName, o.All)
}

// restoreRoom checks that a directory is there to be filled, with room.
func restoreRoom(o *RestoreOptions, m *backup.Manifest) (existed bool, err error) {
	if err := backup.Empty(o.FS, o.Dir); err != nil {
		return false, err
	}
	if existed, err = vfs.Exists(o.FS, o.Dir); err != nil {
		return false, err
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return false, err
	}
	if free, err := o.FS.Free(o.Dir); err == nil && free < m.Bytes() {
		err := fmt.Errorf("the disk of %s has %d bytes free, and the backup takes %d", o.Dir, free, m.Bytes())
		if !existed {
			err = errors.Join(err, o.FS.Remove(o.Dir))
		}
		return false, err
	}
	return existed, nil
}

// restore fills the directory. It can be started with once the mark is gone.
func (o *RestoreOptions) restore(ctx context.Context, m *backup.Manifest, id identity, r *ring.Ring, whole bool) error {
	if err := writeDurably(o.FS, o.Dir, restoringName, nil); err != nil {
		return err
	}
	if err := backup.Copy(ctx, o.FS, m, o.Backup, o.Dir); err != nil {
		return err
	}
	id.Boot, id.File, id.Clean, id.Restored = "", "", true, !whole
	if whole {
		id.Incarnation = r.Member(id.Node).Incarnation
		id.Since = max(hlc.FromTime(o.Now()), id.Since+1)
		if err := writeDurably(o.FS, o.Dir, ringName, r.Encode()); err != nil {
			return err
		}
		a, _, err := consensus.NewAcceptor(consensus.AcceptorOptions{Self: id.Node, Incarnation: id.Incarnation,
			Store: registerFile{o.FS, o.Dir}, Ring: func() *ring.Ring { return r }, Adopt: func(*ring.Ring) error { return nil }})
		if err == nil {
			err = a.Inherit(id.Incarnation)
		}
		if err != nil {
			return err
		}
	}
	if err := id.save(o.FS, o.Dir); err != nil {
		return err
	}
	if err := o.FS.Remove(filepath.Join(o.Dir, restoringName)); err != nil {
		return err
	}
	return o.FS.SyncDir(o.Dir)
}

// identityOf reads the identity of a backup.
func identityOf(fsys vfs.FS, dir string) (id identity, err error) {
	name := filepath.Join(dir, identityName)
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return id, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &id); err != nil || id.Node == 0 || id.Incarnation == 0 {
		return id, fmt.Errorf("%s is damaged", name)
	}
	return id, nil
}

// checkRestored refuses a directory that is only half restored.
func (n *Node) checkRestored() error {
	half, err := vfs.Exists(n.fs, filepath.Join(n.o.Dir, restoringName))
	if err == nil && half {
		err = fmt.Errorf("%s was not restored to the end: empty it, and run kvstore restore again", n.o.Dir)
	}
	return err
}
