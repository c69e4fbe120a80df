package cli

import (
	"fmt"
	"text/tabwriter"

	"kvstore/storage/offline"
	"kvstore/storage/vfs"
)

// runStorageCheck verifies every byte at rest, and fails when any is damaged.
func runStorageCheck(s *shell, args []string) error {
	v := newInvocation("storage")
	file := v.String("config", "", "")
	if err := v.parseUpTo(s, args, 1); err != nil {
		return err
	}
	dir, err := s.storageDir(v, *file)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	var damage []error
	summary, err := offline.Check(vfs.OS{}, dir, func(f offline.File) {
		verdict := "ok"
		if len(f.Damage) > 0 {
			verdict = "DAMAGED"
		}
		fmt.Fprintf(table, "%s\t%s\t%d bytes\t%s\n", f.Name, verdict, f.Size, f.Text)
		for _, d := range f.Damage {
			damage = append(damage, d)
		}
	})
	if flushed := table.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		return explainStorage(dir, err)
	}
	for _, d := range damage {
		fmt.Fprintln(s.stdout, d)
	}
	fmt.Fprintf(s.stdout, "%s, %d bytes verified, %d damaged\n", plural(summary.Files, "file"), summary.Bytes, summary.Damaged)
	if summary.Lost > 0 {
		fmt.Fprintf(s.stdout, "%s lost records to earlier damage and wait to be refilled from other replicas\n", plural(summary.Lost, "key range"))
	}
	if len(damage) > 0 {
		return fmt.Errorf("%s in %s; kvstore storage repair %s makes the directory usable again", plural(summary.Damaged, "damaged file"), dir, dir)
	}
	return nil
}
