package cli

import (
	"kvstore/storage/offline"
	"kvstore/storage/vfs"
)

// runStorageInspect prints a table, a log or a manifest.
func runStorageInspect(s *shell, args []string) error {
	v := newInvocation("storage")
	file, keys, blocks := v.String("config", "", ""), v.Bool("keys", false, ""), v.Bool("blocks", false, "")
	if err := v.parseUpTo(s, args, 1); err != nil {
		return err
	}
	path, err := s.storageDir(v, *file)
	if err != nil {
		return err
	}
	return explainStorage(path, offline.Inspect(vfs.OS{}, path, offline.Look{Keys: *keys, Blocks: *blocks}, s.stdout))
}
