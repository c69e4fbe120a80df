package cluster

import (
	"context"
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/version"
	"kvstore/storage"
	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// A node whose own records are damaged starts, without what is lost of them.
func TestDamagedSystemRecordsDoNotStopTheStart(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	o := aloneOptions(fs)
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(100) {
		if _, err := n.db.Set(key.AppendSystem(nil, 0x7f, []byte{i}), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		data, err := vfs.ReadFile(fs, "data/"+name)
		if err != nil {
			t.Fatal(err)
		}
		data[40] ^= 1
		if err := vfs.WriteFile(fs, "data/"+name, data); err != nil {
			t.Fatal(err)
		}
	}
	if n, err = Open(o); err != nil {
		t.Fatal(err)
	}
	if m := n.db.Metrics(); m.DamageFound == 0 || m.LostRanges != 0 {
		t.Errorf("damage %d, lost ranges %d", m.DamageFound, m.LostRanges)
	}
	if _, _, err := n.db.Get(nil, key.AppendSystem(nil, 0x7f, []byte{0})); err != nil {
		t.Error(err)
	}
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What the engine says of damage is damage to the replica too, so that records of others replace it.
func TestDamageIsKnownAsSuch(t *testing.T) {
	t.Parallel()
	engine := storeError(&storage.CorruptError{File: "000001.sst", Reason: "the checksum does not match"})
	for err, want := range map[error]bool{engine: true, version.ErrCorrupt: true, coordinator.ErrFull: false, nil: false} {
		if isDamage(err) != want {
			t.Errorf("%v: %v, want %v", err, isDamage(err), want)
		}
	}
}
