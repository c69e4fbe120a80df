package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"kvstore/cluster/ring"
	"kvstore/storage/corrupt"
	"kvstore/storage/vfs"
)

const (
	ringName = "ring"
	// memberName is a file that is there once the node was in a ring: who lacks the ring
	// then has lost it, and asks the others.
	memberName = "member"
)

// openRing reads the ring that the node had, nil if it had none or has lost it. upgraded
// says that a release wrote it that knew no register.
func (n *Node) openRing() (known *ring.Ring, upgraded bool, err error) {
	if known, upgraded, err = loadRing(n.fs, n.o.Dir); err != nil {
		return nil, false, err
	}
	was, err := wasMember(n.fs, n.o.Dir)
	if err != nil {
		return nil, false, err
	}
	if n.lostRing = was && known == nil; n.lostRing {
		n.log.Error().Msg("the directory lacks its ring: the node has to hear it from the other members, and founds no cluster; " +
			"if it was the only one, put the file `ring` back from a backup, or start with an empty directory")
	}
	if known != nil && known.Member(n.id.Node) == nil {
		// It ended between taking the ring of its old place and becoming that member.
		known = nil
	}
	if known != nil && known.ClusterName != n.o.ClusterName {
		return nil, false, fmt.Errorf("%w: it is of cluster %q, not of %q", ErrOtherCluster, known.ClusterName, n.o.ClusterName)
	}
	return known, upgraded, nil
}

// loadRing reads the ring, nil when the node is in none. old says that a release wrote it that
// knew no register.
func loadRing(fsys vfs.FS, dir string) (r *ring.Ring, old bool, err error) {
	name := filepath.Join(dir, ringName)
	b, err := vfs.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	if r, err = ring.Decode(b); err != nil {
		return nil, false, &corrupt.Error{File: name, Reason: err.Error()}
	}
	return r, b[len("kvring")] == 1, nil // its encoding's version
}

// wasMember reports whether the node of a directory was in a ring once.
func wasMember(fsys vfs.FS, dir string) (bool, error) {
	name := filepath.Join(dir, memberName)
	_, err := vfs.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}

// noteMember notes that the node is in a ring. It comes after the ring was stored.
func noteMember(fsys vfs.FS, dir string) error {
	if was, err := wasMember(fsys, dir); was || err != nil {
		return err
	}
	return writeDurably(fsys, dir, memberName, []byte("the node is in a ring\n"))
}
