package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kvstore/storage"
)

// storageCommands are the commands on a directory that no node runs on.
func storageCommands() []subcommand {
	return []subcommand{
		{name: "check", run: runStorageCheck},
		{name: "repair", run: runStorageRepair},
		{name: "inspect", run: runStorageInspect},
	}
}

func runStorage(s *shell, args []string) error {
	if len(args) > 0 {
		for _, c := range storageCommands() {
			if c.name == args[0] {
				return c.run(s, args[1:])
			}
		}
		if strings.Trim(args[0], "-") == "help" || args[0] == "-h" {
			return runHelp(s, []string{"storage"})
		}
	}
	return usageError("storage: want kvstore storage check, repair or inspect; kvstore help storage explains")
}

// storageDir is the directory that the command line names, else the configuration's.
func (s *shell) storageDir(v *invocation, file string) (string, error) {
	if v.NArg() > 0 {
		return v.Arg(0), nil
	}
	c, _, err := s.load(file, v.settings)
	if err != nil {
		return "", err
	}
	return c.Storage.Dir, nil
}

// explainStorage is what a person is told of a directory that cannot be worked on.
func explainStorage(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%s is in use by %s; stop it first", dir, holder(err))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such file or directory; name it, or the configuration that has it with --config", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: no permission: %w; run this as the node's user", dir, pathOf(err))
	}
	return err
}
