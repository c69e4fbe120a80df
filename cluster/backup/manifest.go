package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"kvstore/storage/vfs"
)

// Name is the manifest's file.
const Name = "backup.json"

// format is that of the manifest and of what it lists.
const format = 1

// Manifest says what a backup is of.
type Manifest struct {
	Format     int       `json:"format"`
	Cluster    string    `json:"cluster"`
	ClusterID  string    `json:"cluster_id"`
	Node       string    `json:"node"`
	NodeID     string    `json:"node_id"`
	Generation uint64    `json:"generation"`
	Epoch      uint64    `json:"epoch"`
	RingHash   string    `json:"ring_hash"` // equal for backups that make a cluster together
	Began      time.Time `json:"began"`     // what was written before is in it
	Ended      time.Time `json:"ended"`     // of the engine's part: what was written after is not
	Files      []File    `json:"files"`     // sorted by name
}

// File is one file of a backup.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  string `json:"xxh64"`
}

// Bytes is what all files take.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Save writes the manifest, which makes dir a backup.
func (m *Manifest) Save(fsys vfs.FS, dir string) error {
	m.Format = format
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if err := vfs.WriteFile(fsys, filepath.Join(dir, Name), append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, Name), err)
	}
	return nil
}

// Load reads the manifest of a backup.
func Load(fsys vfs.FS, dir string) (*Manifest, error) {
	name := filepath.Join(dir, Name)
	b, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no backup, or one that was not finished: it has no %s", dir, Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return decode(b, name)
}

// decode reads a manifest. Names in it are of files in the backup's own directory, whatever it says.
func decode(b []byte, name string) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if m.Format != format {
		return nil, fmt.Errorf("%s is of format %d, and this release reads %d: use the release that wrote it", name, m.Format, format)
	}
	for i, f := range m.Files {
		if f.Name == "" || f.Name == "." || f.Name == ".." || f.Name == Name || strings.ContainsAny(f.Name, `/\`) || f.Size < 0 || i > 0 && m.Files[i-1].Name >= f.Name {
			return nil, fmt.Errorf("%s is damaged: it lists %q", name, f.Name)
		}
	}
	return &m, nil
}
