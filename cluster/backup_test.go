package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kvstore/cluster/backup"
	"kvstore/cluster/ring"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// A backup that has to copy files is no reason for a node not to end.
func TestShutdownEndsABackupThatCopies(t *testing.T) {
	t.Parallel()
	const dir, values = "/backup", 12
	var n *Node
	var writes atomic.Int64
	copying := make(chan struct{})
	disk := &vfs.Faulty{FS: vfs.NewMem(), Inject: func(op vfs.Op, name string) error {
		switch {
		case op == vfs.OpLink:
			return errors.ErrUnsupported
		case op == vfs.OpWrite && filepath.Dir(name) == dir && strings.HasSuffix(name, ".sst"):
			if writes.Add(1) == 1 {
				close(copying)
			}
			<-n.ctx.Done() // the disk is slow
		}
		return nil
	}}
	n = openAloneOn(t, disk)
	noise := rand.NewChaCha8([32]byte{})
	for i := range byte(values) {
		value := make([]byte, 1<<20)
		_, _ = noise.Read(value) // it never fails
		if _, err := n.db.Set(key.AppendUser(nil, uint64(i), 0, []byte{i}), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.StartBackup(dir); err != nil {
		t.Fatal(err)
	}
	<-copying
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	b := n.LastBackup()
	if b.Err == nil || b.Err.Error() != "the node was shut down meanwhile" {
		t.Errorf("the backup ended with %v", b.Err)
	}
	if all := int64(values << 20 / (32 << 10)); writes.Load() > all/2 {
		t.Errorf("%d of about %d writes were made", writes.Load(), all)
	}
	if left, err := vfs.Exists(disk, dir); left || err != nil {
		t.Errorf("it is there: %v, %v", left, err)
	}
}

// Of two nodes that are to write to one directory one is refused, and harms nothing. Nor can anybody open what is half made.
func TestADirectoryTakesOneBackup(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	n.put(t, 0, "k", nil)
	const dir = "/backup"
	claim, err := backup.NewClaim(n.fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.StartBackup(dir); err == nil {
		t.Error("a claimed directory is taken")
	}
	if db, err := storage.Open(dir, storage.Options{FS: n.fs}); err == nil {
		t.Error("a claimed directory is opened")
		_ = db.Close()
	}
	if err := claim.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartBackup(dir); err != nil {
		t.Fatal(err)
	}
	soon(t, "the backup to end", func() bool { return !n.LastBackup().Ended.IsZero() })
	b := n.LastBackup()
	if b.Err != nil || b.Bytes != b.Total || b.Bytes != b.Manifest.Bytes() {
		t.Fatalf("the backup is %+v", b)
	}
	if names, err := n.fs.List(dir); err != nil || len(names) != len(b.Manifest.Files)+1 {
		t.Errorf("of %d files there are %q, %v", len(b.Manifest.Files), names, err)
	}
	if err := n.StartBackup(dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("once more: %v", err)
	}
}

// The restoration of a cluster's only voter is a new life, which shuts nobody out: where members wait for their part it
// has to be asked for.
func TestAnOnlyVoterIsRestored(t *testing.T) {
	t.Parallel()
	for _, waits := range []bool{false, true} {
		n := openAlone(t)
		if waits {
			m := n.member()
			m.ID, m.Name, m.Incarnation = m.ID+1, "another", m.Incarnation+1
			r, err := ring.Join(n.Ring(), m, false)
			if err != nil {
				t.Fatal(err)
			}
			n.ring.Store(r)
		}
		if err := n.StartBackup("/backup"); err != nil {
			t.Fatal(err)
		}
		soon(t, "the backup to end", func() bool { return !n.LastBackup().Ended.IsZero() })
		o := RestoreOptions{FS: n.fs, Backup: "/backup", Dir: "/restored", ClusterName: "again", Now: time.Now}
		if waits {
			if _, err := Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another still wait for a part") {
				t.Fatalf("restored beside one that waits: %v", err)
			}
			o.All = "monday"
		}
		if out, err := Restore(t.Context(), o); err != nil || !out.Whole || out.ClusterID == n.Ring().ClusterID {
			t.Errorf("beside one that waits %v: %+v, %v", waits, out, err)
		}
	}
}
