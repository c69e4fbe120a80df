package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kvstore/cluster"
	"kvstore/config"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

func TestExplain(t *testing.T) {
	c := config.Default()
	c.Cluster.Join = []string{"a:1"}
	path := func(err error) error {
		return fmt.Errorf("open the engine: %w", &fs.PathError{Op: "mkdir", Path: "data", Err: err})
	}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"something else", errors.New("the moon is full"), "the moon is full"},
		{"locked by a known process", fmt.Errorf("open: %w: %w", storage.ErrLocked, &vfs.LockedError{Name: "data/LOCK", PID: 42}),
			`storage.dir = "data": in use by process 42; stop it, or choose another directory with --storage.dir=DIR`},
		{"locked by somebody", fmt.Errorf("open: %w", storage.ErrLocked),
			`storage.dir = "data": in use by another process; stop it, or choose another directory with --storage.dir=DIR`},
		{"another cluster", fmt.Errorf("%w: it is of cluster %q, not of %q", cluster.ErrOtherCluster, "blue", "red"),
			`storage.dir = "data": the directory belongs to another cluster: it is of cluster "blue", not of "red"; set cluster.name to that cluster's, or choose another directory with --storage.dir=DIR`},
		{"refused", fmt.Errorf("%w: it holds data", cluster.ErrRefused),
			`cluster.join = "a:1": the cluster refused the node: it holds data`},
		{"permission", path(syscall.EACCES),
			`storage.dir = "data": no permission: mkdir data: permission denied; change its owner or mode, or choose another directory with --storage.dir=DIR`},
		{"full", path(syscall.ENOSPC),
			`storage.dir = "data": the disk is full: mkdir data: no space left on device; free some space, or choose another directory with --storage.dir=DIR`},
		{"read-only", path(syscall.EROFS),
			`storage.dir = "data": the file system is read-only: mkdir data: read-only file system; mount it writable, or choose another directory with --storage.dir=DIR`},
		{"a file", path(syscall.ENOTDIR),
			`storage.dir = "data": not a directory: mkdir data: not a directory; choose another with --storage.dir=DIR`},
		{"damage", fmt.Errorf("open: %w", &storage.CorruptError{File: "000007.log", Offset: 9, Reason: "checksum"}),
			`storage.dir = "data": 000007.log is damaged at offset 9: checksum; nothing was changed: run kvstore storage repair, restore the file from a backup, or empty the directory and let the node fill from its replicas`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := explain(c, tc.err)
			if got := fmt.Sprint(err); got != tc.want && (err != nil || tc.want != "") {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// A directory that cannot be made is explained from the error the system gives.
func TestExplainRealDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Storage.Dir = filepath.Join(file, "data")
	_, err := storage.Open(c.Storage.Dir, storage.Options{})
	if got := explain(c, err); err == nil || !strings.Contains(got.Error(), "not a directory") || !strings.Contains(got.Error(), "--storage.dir") {
		t.Errorf("got %v", got)
	}
}
