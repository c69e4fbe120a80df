package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/cespare/xxhash/v2"

	"kvstore/storage/vfs"
)

// chunk is what is read at once, and after which a paced reader rests.
const chunk = 1 << 20

// Sum lists the files of dir with their sums, less the lock of a Claim. It rests as long as it reads, so that whoever uses the disk beside it has at
// least half of it. progress, if not nil, is told of bytes that were read.
func Sum(ctx context.Context, fsys vfs.FS, dir string, progress func(n int64)) ([]File, error) {
	names, err := list(fsys, dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		f := File{Name: name}
		if f.Size, f.Sum, err = transfer(ctx, fsys, filepath.Join(dir, name), nil, true, progress); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Copy copies the files of a backup to a directory, durably, and verifies them on the way. It stops at the first that is
// missing or not what it was.
func Copy(ctx context.Context, fsys vfs.FS, m *Manifest, from, to string) error {
	for _, f := range m.Files {
		target, err := fsys.Create(filepath.Join(to, f.Name))
		if err != nil {
			return err
		}
		size, sum, err := transfer(ctx, fsys, filepath.Join(from, f.Name), target, false, nil)
		if err == nil {
			err = target.Sync()
		}
		if closed := target.Close(); err == nil {
			err = closed
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the backup lacks its file %s", f.Name)
		case err != nil:
			return err
		case size != f.Size || sum != f.Sum:
			return fmt.Errorf("the backup's file %s is damaged: it has %d bytes that sum to %s, and had %d that sum to %s", f.Name, size, sum, f.Size, f.Sum)
		}
	}
	return fsys.SyncDir(to)
}

// transfer reads a file to its end, and writes it to w if that is not nil.
func transfer(ctx context.Context, fsys vfs.FS, name string, w io.Writer, paced bool, progress func(n int64)) (size int64, sum string, err error) {
	source, err := fsys.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer source.Close()
	digest := xxhash.New()
	buffer := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		began := time.Now()
		n, err := io.ReadFull(source, buffer)
		_, _ = digest.Write(buffer[:n]) // a hash takes everything
		size += int64(n)
		if w != nil && n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return 0, "", err
			}
		}
		if progress != nil {
			progress(int64(n))
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, fmt.Sprintf("%016x", digest.Sum64()), nil
		case err != nil:
			return 0, "", fmt.Errorf("read %s: %w", name, err)
		}
		if paced {
			time.Sleep(time.Since(began))
		}
	}
}

// Empty is nil when a directory is absent or has nothing in it.
func Empty(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(names) > 0:
		return notEmpty(dir, names)
	}
	return nil
}

func notEmpty(dir string, names []string) error {
	return fmt.Errorf("%s is not empty: it has %s; name a directory that is new or empty", dir, names[0])
}

// Discard removes what was begun in a directory, and the directory if it was not there before.
func Discard(fsys vfs.FS, dir string, existed bool) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		err = errors.Join(err, fsys.Remove(filepath.Join(dir, name)))
	}
	if !existed {
		err = errors.Join(err, fsys.Remove(dir))
	}
	return err
}
