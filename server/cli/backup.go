package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"kvstore/cluster"
	"kvstore/cluster/ring"
	"kvstore/server/admin"
	"kvstore/storage/vfs"
)

func runBackup(s *shell, args []string) error {
	v := newInvocation("backup")
	file, asJSON := v.String("config", "", ""), v.Bool("json", false, "")
	if err := v.parseUpTo(s, args, 1); err != nil {
		return err
	}
	if v.NArg() != 1 {
		return usageError("backup: want the directory that the node is to write to: kvstore backup DIR")
	}
	dir := v.Arg(0)
	if !filepath.IsAbs(dir) {
		whole, err := filepath.Abs(dir)
		if err != nil {
			whole = "/var/backups/kvstore/monday"
		}
		return fmt.Errorf("%s is on the node's machine, which knows nothing of the directory you are in: give the whole path, such as %s", dir, whole)
	}
	addr, err := s.adminListen(*file, v.settings)
	if err != nil {
		return err
	}
	client, ctx := admin.NewClient(addr), context.Background()
	shown := false
	b, err := client.StartBackup(ctx, dir)
	for err == nil && b.Running {
		if !*asJSON && b.TotalBytes > 0 {
			shown = true
			fmt.Fprintf(s.stderr, "\rverified %v of %v   ", roughly(b.Bytes), roughly(b.TotalBytes))
		}
		time.Sleep(followEvery)
		b, err = client.Backup(ctx)
	}
	if shown {
		fmt.Fprintln(s.stderr)
	}
	switch {
	case err != nil:
		return unanswered(addr, err)
	case *asJSON:
		err = writeJSON(s.stdout, b)
	case b.Error == "":
		_, err = fmt.Fprint(s.stdout, backupText(b))
	}
	if b.Error != "" {
		err = errors.New(b.Error)
	}
	return err
}

// backupText says what was backed up.
func backupText(b admin.Backup) string {
	text := fmt.Sprintf("%s: %s, %v in %s of %.1fs, ring epoch %d (%s)\n", b.Dir, b.Node, roughly(b.TotalBytes), plural(b.Files, "file"), b.Seconds, b.Epoch, b.RingHash)
	if b.Transfers > 0 {
		text += fmt.Sprintf("note: %s under way or planned: backups of other nodes will be of other rings; to restore all nodes together, take all backups while nothing moves\n", plural(b.Transfers, "transfer"))
	}
	return text
}

func runRestore(s *shell, args []string) error {
	v := newInvocation("restore")
	file, word, other := v.String("config", "", ""), v.String("all", "", ""), v.String("ring", "", "")
	if err := v.parseUpTo(s, args, 1); err != nil {
		return err
	}
	switch {
	case v.NArg() != 1:
		return usageError("restore: want the directory of a backup: kvstore restore BACKUP --storage.dir=DIR")
	case *other != "" && *word == "":
		return usageError("restore: --ring is for --all=WORD; a single node gets the ring from its cluster")
	}
	c, _, err := s.load(*file, v.settings)
	if err != nil {
		return err
	}
	out, err := cluster.Restore(context.Background(), cluster.RestoreOptions{
		FS: vfs.OS{}, Backup: v.Arg(0), Dir: c.Storage.Dir, All: *word, ClusterName: c.Cluster.Name, Ring: *other, Now: time.Now,
	})
	if err != nil {
		return err
	}
	m := out.Manifest
	fmt.Fprintf(s.stdout, "%s: node %s of cluster %s as it was at %s, %v in %s, verified\n", c.Storage.Dir, m.Node, m.Cluster,
		m.Ended.Format(time.RFC3339), roughly(m.Bytes()), plural(len(m.Files), "file"))
	switch {
	case !out.Whole:
		fmt.Fprintf(s.stdout, "start it with the name %s: the cluster takes it back and brings it level before it answers reads\n", m.Node)
	case len(out.Members) == 1:
		fmt.Fprintln(s.stdout, "it was a cluster of one node, and is again")
	default:
		fmt.Fprintf(s.stdout, "a new life of cluster %s, with the id %v: restore %s with the same word, and start them; each must have said this id\n",
			out.Cluster, ring.NodeID(out.ClusterID), strings.Join(out.Members, ", "))
	}
	return nil
}

// backer is a node as package admin backs it up.
type backer struct{ node *cluster.Node }

// StartBackup implements admin.Backer.
func (b backer) StartBackup(dir string) error { return b.node.StartBackup(dir) }

// LastBackup implements admin.Backer.
func (b backer) LastBackup() admin.Backup {
	last := b.node.LastBackup()
	if last == nil {
		return admin.Backup{}
	}
	out := admin.Backup{Known: true, Running: last.Ended.IsZero(), Dir: last.Dir, Node: b.node.Self().Name, Began: last.Began,
		Bytes: last.Bytes, TotalBytes: last.Total, Transfers: last.Transfers}
	end := last.Ended
	if out.Running {
		end = time.Now()
	}
	out.Seconds = end.Sub(last.Began).Seconds()
	if last.Err != nil {
		out.Error = last.Err.Error()
	}
	if m := last.Manifest; m != nil {
		out.Files, out.Epoch, out.RingHash = len(m.Files), m.Epoch, m.RingHash
	}
	return out
}
