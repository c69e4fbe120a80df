package backup

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"kvstore/storage/vfs"
)

// made makes a backup of two files and returns its directory.
func made(t *testing.T) (string, *Manifest) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"ring": "a ring", "000001.sst": strings.Repeat("table", chunk/4)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := int64(0)
	files, err := Sum(t.Context(), vfs.OS{}, dir, func(n int64) { read += n })
	if err != nil {
		t.Fatal(err)
	}
	m := &Manifest{Node: "n1", Epoch: 3, Files: files}
	if read != m.Bytes() || len(files) != 2 {
		t.Fatalf("%d bytes were read of %+v", read, files)
	}
	if err := m.Save(vfs.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func TestCopyVerifies(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(dir string) error
		want string
	}{
		{"whole", func(string) error { return nil }, ""},
		{"a bit", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ring"), []byte("a rinG"), 0o600)
		}, "file ring is damaged"},
		{"cut short", func(dir string) error { return os.Truncate(filepath.Join(dir, "000001.sst"), 7) }, "file 000001.sst is damaged"},
		{"a file", func(dir string) error { return os.Remove(filepath.Join(dir, "ring")) }, "lacks its file ring"},
		{"no manifest", func(dir string) error { return os.Remove(filepath.Join(dir, Name)) }, "is no backup, or one that was not finished"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, want := made(t)
			if err := tc.harm(dir); err != nil {
				t.Fatal(err)
			}
			to := t.TempDir()
			m, err := Load(vfs.OS{}, dir)
			if err == nil {
				if !reflect.DeepEqual(m, want) {
					t.Errorf("the manifest is %+v, want %+v", m, want)
				}
				err = Copy(context.Background(), vfs.OS{}, m, dir, to)
			}
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want == "":
				if b, err := os.ReadFile(filepath.Join(to, "ring")); err != nil || string(b) != "a ring" {
					t.Errorf("the copy is %q, %v", b, err)
				}
			case err == nil || !strings.Contains(err.Error(), tc.want):
				t.Errorf("the error is %v, want %s", err, tc.want)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	dir, m := made(t)
	disk := &vfs.Faulty{FS: vfs.OS{}, Inject: func(op vfs.Op, _ string) error {
		if op == vfs.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	}}
	if err := Copy(t.Context(), disk, m, dir, t.TempDir()); !vfs.IsFull(err) {
		t.Errorf("a copy to a full disk: %v", err)
	}
}

func TestEmptyAndDiscard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := Empty(vfs.OS{}, dir); err != nil {
		t.Errorf("an absent directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Empty(vfs.OS{}, dir); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Empty(vfs.OS{}, dir); err == nil || !strings.Contains(err.Error(), "is not empty: it has a") {
		t.Errorf("a directory with a file: %v", err)
	}
	for range 2 { // the second time it is gone
		if err := Discard(vfs.OS{}, dir, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("what was discarded: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"files":[{"name":"a","size":1,"xxh64":"00"}]}`))
	f.Add([]byte(`{"format":1,"files":[{"name":"../a"}]}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b, Name)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if filepath.Base(file.Name) != file.Name || !filepath.IsLocal(file.Name) {
				t.Errorf("it lists %q", file.Name)
			}
		}
	})
}
