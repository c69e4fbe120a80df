package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kvstore/storage/vfs"
)

// fill writes n keys and commits each, and returns what they make.
func fill(t *testing.T, db *DB, from, n int) map[string]string {
	t.Helper()
	now := map[string]string{}
	for i := from; i < from+n; i++ {
		k, v := fmt.Sprintf("key%05d", i), fmt.Sprintf("value%d", i)
		if _, err := db.Set([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		if err := db.Commit(); err != nil {
			t.Fatal(err)
		}
		now[k] = v
	}
	return now
}

// logOf returns the path and content of the one log that has records.
func logOf(t *testing.T, fs vfs.FS, dir string) (string, []byte) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			data, err := vfs.ReadFile(fs, filepath.Join(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 100 {
				return filepath.Join(dir, n), data
			}
		}
	}
	t.Fatal("no log has records")
	return "", nil
}

func TestDamagedLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(data []byte) []byte
		// keeps is how many of the 50 operations are recovered, -1 when the log is refused.
		keeps int
	}{
		{"whole", func(d []byte) []byte { return d }, 50},
		{"one byte short", func(d []byte) []byte { return d[:len(d)-1] }, 49},
		{"last record cut in its header", func(d []byte) []byte { return d[:len(d)-40] }, 49},
		{"zeros behind", func(d []byte) []byte { return append(d, make([]byte, 5000)...) }, 50},
		{"garbage behind", func(d []byte) []byte { return append(d, "not a record at all, only garbage"...) }, 50},
		{"last byte wrong", func(d []byte) []byte { d[len(d)-1] ^= 1; return d }, 49},
		{"a byte wrong in the middle", func(d []byte) []byte { d[len(d)/2] ^= 0x10; return d }, -1},
		{"a byte wrong in the first record", func(d []byte) []byte { d[70] ^= 0x10; return d }, -1},
		{"header wrong", func(d []byte) []byte { d[9] ^= 0x10; return d }, -1},
		{"a record taken out", func(d []byte) []byte { return append(d[:32+50:32+50], d[32+2*50:]...) }, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem()
			db, err := Open("/db", Options{FS: disk.View()})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, db, 10, 50)
			disk.Kill()
			db.Close()
			name, data := logOf(t, disk, "/db")
			if err := vfs.WriteFile(disk, name, c.damage(data)); err != nil {
				t.Fatal(err)
			}
			db, err = Open("/db", Options{FS: disk})
			if c.keeps < 0 {
				damage, ok := errors.AsType[*CorruptError](err)
				if !ok || !IsCorrupt(err) || damage.File != name {
					t.Fatalf("got %v, want damage in %s", err, name)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := int(db.Metrics().Visible); got != c.keeps {
				t.Errorf("recovered %d operations, want %d", got, c.keeps)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMissingFiles(t *testing.T) {
	disk := vfs.NewMem()
	db, err := Open("/db", Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, 0, 100)
	if err := errors.Join(db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List("/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n == lockName || strings.HasSuffix(n, ".log") && n != firstLog(names) {
			continue
		}
		c := disk.Clone()
		if err := c.Remove("/db/" + n); err != nil {
			t.Fatal(err)
		}
		if db, err := Open("/db", Options{FS: c}); !IsCorrupt(err) {
			if err == nil {
				db.Close()
			}
			t.Errorf("opened without %s: %v", n, err)
		}
	}
}

// firstLog returns the log that the manifest names: of those left, the one in use is older than the one prepared.
func firstLog(names []string) string {
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			return n
		}
	}
	return ""
}
