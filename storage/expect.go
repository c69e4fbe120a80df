package storage

import (
	"math/bits"

	"kvstore/storage/memtable"
	"kvstore/storage/sstable"
)

// expect looks ahead for the keys with these tokens, as far as they are known to be: those that are in a memtable are
// looked for no further.
func (s *readState) expect(tokens []uint64) {
	missing := uint64(1)<<len(tokens) - 1
	missing &^= s.active.table.ExpectAll(tokens)
	for _, m := range s.immutable {
		if missing != 0 {
			missing &^= m.table.ExpectAll(tokens)
		}
	}
	if missing == 0 {
		return
	}
	var probes [memtable.MaxExpected]sstable.Probe
	for set := missing; set != 0; set &= set - 1 {
		n := bits.TrailingZeros64(set)
		probes[n] = sstable.ProbeOf(tokens[n])
	}
	for _, t := range s.version.levels[0] {
		for set := missing; set != 0; set &= set - 1 {
			t.reader.Expect(probes[bits.TrailingZeros64(set)])
		}
	}
}
