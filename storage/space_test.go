package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"

	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// spaceOptions are the defaults, a sixty-fourth of them in size.
func spaceOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, Fsync: SyncNever, MemtableSize: 1 << 20, CacheSize: 4 << 20,
		TableSize: 512 << 10, LevelSize: 4 << 20, CompactionWorkers: 1,
	}
}

// pair returns a user's key and a value of 100 bytes that compresses to a half.
func pair(n int) (k, v []byte) {
	k = key.AppendUser(nil, uint64(n)*0x9e3779b97f4a7c15>>2, 0, fmt.Appendf(nil, "key:%012d", n))
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for range 50 {
		v = append(v, byte(r.Uint32()))
	}
	return k, append(v, v...)
}

func tableBytes(t *testing.T, disk *vfs.Mem, dir string) (sum int64, tables int) {
	t.Helper()
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		info, err := disk.Stat(dir + "/" + n)
		if err != nil {
			t.Fatal(err)
		}
		if sum += info.Size; strings.HasSuffix(n, ".sst") {
			tables++
		}
	}
	return sum, tables
}

// TestStableDataTakesLittleRoom writes everything several times over, deletes a part, and compares all files of the
// engine with what the live pairs take when s2 packs them, a block at a time. What is obsolete is gone as soon as the
// engine is at rest.
func TestStableDataTakesLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, deleted, most = 60_000, 6_000, 1.15
		disk := vfs.NewMem()
		db, err := Open("/db", spaceOptions(disk))
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 1))
		for i := range 2 * keys {
			n := i
			if i >= keys {
				n = r.IntN(keys)
			}
			if _, err := db.Set(pair(n)); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				if err := db.Commit(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var live [][]byte
		for n := range keys {
			k, v := pair(n)
			if n >= deleted {
				live = append(live, append(k, v...))
			} else if _, err := db.Delete(k); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(live, bytes.Compare)
		var packed int64
		for some := range slices.Chunk(live, 4<<10/len(live[0])) {
			packed += int64(len(s2.Encode(nil, bytes.Join(some, nil))))
		}
		if err := db.Compact(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stored, tables := tableBytes(t, disk, "/db")
		share := float64(stored) / float64(packed)
		t.Logf("%d bytes in %d tables for %d packed: %.3f", stored, tables, packed, share)
		if share > most {
			t.Errorf("the data takes %.3f of its packed size, want at most %v", share, most)
		}
		m := db.Metrics()
		named := 0
		for _, l := range m.Levels {
			named += l.Tables
		}
		if tables != named {
			t.Errorf("%d table files for %d tables", tables, named)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDropRangeFreesRoomAlone drops a quarter of the data and nothing else happens: the room is free at once, and the
// only tables written are the two that straddle the bounds.
func TestDropRangeFreesRoomAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 60_000
		disk := vfs.NewMem()
		o := spaceOptions(disk)
		db, err := Open("/db", o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range keys {
			if _, err := db.Set(pair(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(db.Commit(), db.Compact()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before, _ := tableBytes(t, disk, "/db")
		written := db.Metrics()
		// A partition is a quarter of the tokens; a reader holds on to nothing.
		lo, hi := key.AppendToken(nil, 1<<60), key.AppendToken(nil, 2<<60)
		if err := db.DropRange(lo, hi); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		after, _ := tableBytes(t, disk, "/db")
		m := db.Metrics()
		t.Logf("%d bytes before, %d after, %d written for that", before, after, m.CompactionWritten-written.CompactionWritten)
		if after > before*77/100 {
			t.Errorf("%d of %d bytes are left of three quarters of the data", after, before)
		}
		if n := m.CompactionWritten - written.CompactionWritten; n > 2*o.TableSize {
			t.Errorf("%d bytes of tables were written", n)
		}
		if m.RangeDeletions != 0 {
			t.Errorf("%d range deletions are not done", m.RangeDeletions)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
