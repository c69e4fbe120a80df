package storage

import (
	"slices"
	"testing"

	"kvstore/storage/vfs"
)

// TestTheQuarantineIsBounded: the oldest damaged tables go, neither the one just set aside nor what an operator's repair
// has moved there.
func TestTheQuarantineIsBounded(t *testing.T) {
	disk := vfs.NewMem()
	o := tinyDamageOptions(disk)
	o.MaxQuarantine = 250
	db, err := Open("/db", o)
	must(t, err)
	write := func(name string, size int) {
		f, err := disk.Create(name)
		must(t, err)
		_, err = f.Write(make([]byte, size))
		must(t, err)
		must(t, f.Close())
	}
	must(t, disk.MkdirAll("/db/"+QuarantineName))
	write("/db/"+QuarantineName+"/000900.sst.2", 1000)
	for _, number := range []uint64{905, 901, 907, 903} {
		write(db.name(tableName(number)), 100)
		db.setAside(number)
	}
	names, err := disk.List("/db/" + QuarantineName)
	must(t, err)
	slices.Sort(names)
	if want := []string{"000900.sst.2", "000903.sst", "000907.sst"}; !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v", names, want)
	}
	write(db.name(tableName(902)), 1000)
	db.setAside(902)
	names, err = disk.List("/db/" + QuarantineName)
	must(t, err)
	slices.Sort(names)
	if want := []string{"000900.sst.2", "000902.sst"}; !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v", names, want)
	}
	must(t, db.Close())
}
