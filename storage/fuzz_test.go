package storage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/vfs"
)

// FuzzOpen writes over a part of any of an engine's files, or cuts it off there, and opens what is left. Whatever the
// damage, the engine refuses to open, or an error says what cannot be read, or the content is that of the first so many
// operations: it is never a wrong one.
func FuzzOpen(f *testing.F) {
	disk, m := populatedDisk(f)
	names, err := disk.List("/db")
	if err != nil {
		f.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == lockName })
	digests := map[uint64]bool{}
	now := map[string]string{}
	for _, o := range append([]modelOp{{}}, m.ops...) {
		o.apply(now)
		digests[digestMap(now)] = true
	}
	for i := range names {
		f.Add(uint8(i), uint32(40), []byte("damage"))
		f.Add(uint8(i), uint32(100), []byte{})
		f.Add(uint8(i), uint32(9), []byte{0})
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint32, damage []byte) {
		ruin := disk.Clone()
		name := "/db/" + names[int(which)%len(names)]
		data, err := vfs.ReadFile(ruin, name)
		if err != nil {
			t.Fatal(err)
		}
		from := int(at) % (len(data) + 1)
		if len(damage) == 0 {
			data = data[:from]
		} else {
			data = append(data[:from:from], append(damage, data[min(len(data), from+len(damage)):]...)...)
		}
		if err := vfs.WriteFile(ruin, name, data); err != nil {
			t.Fatal(err)
		}
		db, err := Open("/db", tinyOptions(ruin, SyncNever))
		if err != nil {
			return
		}
		if sum, err := digestOf(db); err == nil && !digests[sum] {
			t.Errorf("%s damaged at %d by %q shows a content that never was", name, from, damage)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// populatedDisk returns a disk with tables on several levels, a range deletion, and a log to be replayed.
func populatedDisk(f *testing.F) (*vfs.Mem, model) {
	disk := vfs.NewMem()
	db, err := Open("/db", tinyOptions(disk.View(), SyncNever))
	if err != nil {
		f.Fatal(err)
	}
	var m model
	w := world{r: rand.New(rand.NewPCG(5, 5))}
	for step := range 80 {
		o := w.randomOp()
		var b Batch
		o.addTo(&b)
		if _, err := db.Apply(&b); err != nil {
			f.Fatal(err)
		}
		m.do(o)
		w.model.ops = m.ops
		switch step {
		case 30:
			err = db.Compact()
		case 50:
			err = db.Flush()
		default:
			err = db.Commit()
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	disk.Kill()
	db.Close()
	return disk, m
}
