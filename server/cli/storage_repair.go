package cli

import (
	"context"
	"fmt"

	"kvstore/storage/offline"
	"kvstore/storage/vfs"
)

// runStorageRepair makes a damaged directory one that opens, and says what that cost.
func runStorageRepair(s *shell, args []string) error {
	v := newInvocation("storage")
	file, forget := v.String("config", "", ""), v.Bool("forget-lost", false, "")
	if err := v.parseUpTo(s, args, 1); err != nil {
		return err
	}
	dir, err := s.storageDir(v, *file)
	if err != nil {
		return err
	}
	report, err := offline.Repair(context.Background(), vfs.OS{}, dir, offline.Options{Forget: *forget})
	if report != nil {
		for _, step := range report.Steps {
			fmt.Fprintln(s.stdout, step)
		}
	}
	if err != nil {
		return explainStorage(dir, err)
	}
	switch {
	case !report.Damaged:
		fmt.Fprintf(s.stdout, "%s is whole; nothing was changed\n", dir)
	case len(report.Lost) > 0:
		fmt.Fprintf(s.stdout, "%s opens again. This node may have lost writes that it had acknowledged: it leaves reads of what it lost to the other replicas, which\n"+
			"refill it in the background (kvstore repair does it at once). A node without replicas needs --forget-lost, which makes what is left count\n", dir)
	default:
		fmt.Fprintf(s.stdout, "%s opens again\n", dir)
	}
	return nil
}
