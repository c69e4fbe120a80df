package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/hint"
	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/storage/corrupt"
	"kvstore/storage/key"
	"kvstore/storage/vfs"

	"github.com/cespare/xxhash/v2"
)

// identity is who the node is, kept in its directory.
//
// The node id names the directory for as long as it lives. The incarnation names
// a history of writes: versions carry it, and it changes whenever the node may
// have lost writes that others have seen. That is so after a loss of power
// without a clean end, and in a directory that is a copy of another one.
type identity struct {
	Node        ring.NodeID `json:"node"`
	Incarnation uint64      `json:"incarnation"`
	// Since is when the incarnation began. Of two that claim one place in the ring
	// the later one has it; see lives.
	Since hlc.Timestamp `json:"since,omitempty"`
	// Boot is the operating system's boot the node last ran in, and Clean
	// whether it ended there in order.
	Boot  string `json:"boot"`
	Clean bool   `json:"clean"`
	// Left says that the node was decommissioned and has left: the directory is of no member for good.
	Left bool `json:"left,omitempty"`
	// File names the directory's own place on its disk; a copy has another.
	File string `json:"file,omitempty"`
	// Restored says that the directory was made of a backup, and not started since.
	Restored bool `json:"restored,omitempty"`
}

const (
	identityName = "node.json"
	clockName    = "clock"
)

// loadIdentity reads the identity of a directory, or makes one. fresh says that
// the directory is new, reborn that the incarnation is, which then began at now.
func loadIdentity(fsys vfs.FS, dir, boot, file string, now hlc.Timestamp) (id identity, fresh, reborn bool, err error) {
	name := filepath.Join(dir, identityName)
	b, err := vfs.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id = identity{Node: ring.NodeID(random64() >> 1)}
		id.renew(now)
		fresh = true
	case err != nil:
		return id, false, false, fmt.Errorf("read %s: %w", name, err)
	default:
		if err := json.Unmarshal(b, &id); err != nil || id.Node == 0 || id.Incarnation == 0 {
			return id, false, false, &corrupt.Error{File: name, Reason: "not an identity"}
		}
		lost := !id.Clean && id.Boot != boot
		if lost || isCopied(&id, file) {
			id.renew(now)
			reborn = true
		}
	}
	id.Boot, id.Clean, id.File, id.Restored = boot, false, file, false
	return id, fresh, reborn, id.save(fsys, dir)
}

// isCopied reports whether a directory is a copy of the one its identity is of.
func isCopied(id *identity, file string) bool {
	return id.Restored || id.File != "" && file != "" && id.File != file
}

// isOld reports whether the directory is a copy for certain, and may thus be older than
// what its node has acknowledged since. Another disk under the same file is none if the
// system was started anew: it may only number its disks in another way.
func isOld(id *identity, boot, file string) bool {
	_, was, _ := strings.Cut(id.File, ":")
	_, is, _ := strings.Cut(file, ":")
	return id.Restored || isCopied(id, file) && (was != is || id.Boot == boot)
}

// markOld has checkEngine find that the engine lacks what its node has acknowledged, if
// the directory is a copy. It comes before the identity says that the copy is an original.
func (n *Node) markOld(boot, file string) error {
	b, err := vfs.ReadFile(n.fs, filepath.Join(n.o.Dir, identityName))
	if err != nil {
		return nil // there is none, or loadIdentity says what is wrong
	}
	var id identity
	if json.Unmarshal(b, &id) != nil || !isOld(&id, boot, file) {
		return nil
	}
	n.log.Warn().Msg("the directory is a copy, which may be old: it is brought level with the other replicas before it answers reads")
	if err := (registerFile{n.fs, n.o.Dir}).remove(); err != nil {
		return err // what it has promised since may be missing
	}
	// What others lacked then they may have got since, and it may have been deleted after that and its
	// tombstone be gone. So hints end: what others lack now is found when the copies are compared, or
	// given to replicas by this node where it is none (antientropy), and both know how old a copy is.
	lower, _ := hint.Bounds(0, 0, 0)
	_, upper := hint.Bounds(^ring.NodeID(0), 0, ring.TokenEnd)
	if err := n.db.DropRange(lower, upper); err != nil {
		return storeError(err)
	}
	if _, err := n.db.Set(ownerKey(), make([]byte, 8)); err != nil {
		return storeError(err)
	}
	if err := n.db.Sync(); err != nil {
		return storeError(err)
	}
	return nil
}

// renew begins a new incarnation, now or, if the clock was set back, right after the last.
func (id *identity) renew(now hlc.Timestamp) {
	id.Incarnation, id.Since = random64(), max(now, id.Since+1)
}

// save writes the identity.
func (id identity) save(fsys vfs.FS, dir string) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	return writeDurably(fsys, dir, identityName, append(b, '\n'))
}

// writeDurably replaces a small file so that either the old or the new content
// is there after any crash.
func writeDurably(fsys vfs.FS, dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if err := vfs.WriteFile(fsys, path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// random64 returns a random number that is not zero.
func random64() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails, by its documentation
		if n := binary.BigEndian.Uint64(b[:]); n>>1 != 0 {
			return n
		}
	}
}

// loadClock reads the bound up to which timestamps may have been issued.
func loadClock(fsys vfs.FS, dir string) (hlc.Timestamp, error) {
	name := filepath.Join(dir, clockName)
	b, err := vfs.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read %s: %w", name, err)
	case len(b) != 16 || binary.BigEndian.Uint64(b[8:]) != xxhash.Sum64(b[:8]):
		return 0, &corrupt.Error{File: name, Reason: "not a clock"}
	}
	return hlc.Timestamp(binary.BigEndian.Uint64(b)), nil
}

// saveClock writes the bound: the timestamp and its hash, 8 bytes each.
func saveClock(fsys vfs.FS, dir string, bound hlc.Timestamp) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(bound))
	b = binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
	return writeDurably(fsys, dir, clockName, b)
}

// checkEngine finds out whether the engine has lost what this node once stored:
// all of it, because its files were removed, or maybe some, because it was repaired
// offline. Then the node continues under a new incarnation, and its copies are to
// be filled from the other replicas.
func (n *Node) checkEngine(fresh bool) (lost bool, err error) {
	if fresh {
		return false, nil
	}
	lost = n.db.Repaired()
	owner, found, err := n.db.Get(nil, ownerKey())
	if err != nil {
		return false, err
	}
	if lost = lost || bytes.Equal(owner, make([]byte, 8)); !found { // markOld has been here
		empty, err := n.holdsNoUserKeys()
		if err != nil {
			return false, err
		}
		lost = lost || empty // else it was written before engines had an owner
	}
	if !lost {
		return false, nil
	}
	n.log.Warn().Msg("the directory's data is lost, or a part of it: the node continues under a new incarnation, and is filled by the other replicas")
	n.id.renew(hlc.FromTime(n.o.Now()))
	return true, n.id.save(n.fs, n.o.Dir)
}

// ownEngine notes whose writes the engine has. It comes after what checkEngine
// found was noted in it.
func (n *Node) ownEngine() error {
	owner := binary.BigEndian.AppendUint64(nil, n.id.Incarnation)
	held, found, err := n.db.Get(nil, ownerKey())
	if err != nil {
		return err
	}
	if !found || !bytes.Equal(held, owner) {
		if _, err := n.db.Set(ownerKey(), owner); err != nil {
			return storeError(err)
		}
		if err := n.db.Sync(); err != nil {
			return storeError(err)
		}
	}
	if n.db.Repaired() {
		return n.db.AcknowledgeRepair()
	}
	return nil
}

// holdsNoUserKeys reports whether the engine holds no user key.
func (n *Node) holdsNoUserKeys() (empty bool, err error) {
	empty = true
	err = store{n.db}.Scan(key.AppendToken(nil, 0), key.AppendToken(nil, uint64(ring.TokenEnd)), func([]byte, []byte) bool {
		empty = false
		return false
	})
	if errors.Is(err, coordinator.ErrCorrupt) {
		return false, nil // what is damaged was there
	}
	return empty, err
}

func ownerKey() []byte { return key.AppendSystem(nil, spaceOwner, nil) }
