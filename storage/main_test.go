package storage

import (
	"context"
	"errors"
	"maps"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOnDisk goes through the life of an engine on the operating system's files.
func TestOnDisk(t *testing.T) {
	for _, compression := range []string{"s2", "zstd", "none"} {
		for _, policy := range []SyncPolicy{SyncEverySecond, SyncAlways, SyncNever} {
			dir := t.TempDir()
			o := tinyOptions(nil, policy)
			o.Compression = compression
			now := map[string]string{}
			for round := range 3 {
				db, err := Open(dir, o)
				if err != nil {
					t.Fatal(err)
				}
				compareAll(t, db, now)
				maps.Copy(now, fill(t, db, round*100, 150))
				if round == 1 {
					err = db.Compact()
				}
				compareAll(t, db, now)
				if err := errors.Join(err, db.Checkpoint(context.Background(), t.TempDir()), db.Close()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
