package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"kvstore/cluster"
	"kvstore/config"
	"kvstore/storage"
	"kvstore/storage/vfs"
)

// explain turns what the packages below report of a start that went wrong into
// one line that names the key, its value and the mend.
func explain(c *config.Config, err error) error {
	dir := fmt.Sprintf("storage.dir = %q: ", c.Storage.Dir)
	if damage, ok := errors.AsType[*storage.CorruptError](err); ok {
		return fmt.Errorf("%s%w; nothing was changed: run kvstore storage repair, restore the file from a backup, or empty the directory and let the node fill from its replicas", dir, damage)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%sin use by %s; stop it, or choose another directory with --storage.dir=DIR", dir, holder(err))
	case errors.Is(err, cluster.ErrOtherCluster):
		return fmt.Errorf("%s%w; set cluster.name to that cluster's, or choose another directory with --storage.dir=DIR", dir, err)
	case errors.Is(err, cluster.ErrPlaceTaken), errors.Is(err, cluster.ErrNoPart):
		return fmt.Errorf("%s%w", dir, err)
	case errors.Is(err, cluster.ErrRefused):
		return fmt.Errorf("cluster.join = %q: %w", c.Text("cluster.join"), err)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return explainListener(c, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%sno permission: %w; change its owner or mode, or choose another directory with --storage.dir=DIR", dir, pathOf(err))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, storage.ErrFull):
		return fmt.Errorf("%sthe disk is full: %w; free some space, or choose another directory with --storage.dir=DIR", dir, pathOf(err))
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%sthe file system is read-only: %w; mount it writable, or choose another directory with --storage.dir=DIR", dir, pathOf(err))
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%snot a directory: %w; choose another with --storage.dir=DIR", dir, pathOf(err))
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s%w; choose another directory with --storage.dir=DIR", dir, p)
	}
	return err
}

// holder names the process that has the directory open.
func holder(err error) string {
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok && locked.PID > 0 {
		return fmt.Sprintf("process %d", locked.PID)
	}
	return "another process"
}

// pathOf is the part of err about a file, without what was being done.
func pathOf(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p
	}
	return err
}

// explainListener finds which listener failed after checkListeners had found
// its port free: another process was quicker.
func explainListener(c *config.Config, err error) error {
	if again := checkListeners(c); again != nil {
		return again
	}
	for _, key := range []string{"server.listen", "cluster.gossip", "cluster.rpc", "admin.listen"} {
		if addr := c.Text(key); addr != "" && strings.Contains(err.Error(), addr) {
			return &listenError{key, addr, err}
		}
	}
	return err
}
