package sstable

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	partitionHeader = 8
	cellSize        = 64 // one cache line
	cellWords       = cellSize / 8
	cellBits        = cellSize * 8
	bitsPerLocation = 9
	maxProbes       = 7 // as many locations of nine bits as one hash gives
)

// keyHash is the hash by which the filter knows a key. The token of user data is a hash already, but its upper bits are
// the slot, which many keys may share; so it is mixed.
func keyHash(key []byte) uint64 {
	if len(key) >= 8 && key[0] < 0x40 {
		return tokenHash(binary.BigEndian.Uint64(key))
	}
	return xxhash.Sum64(key)
}

// tokenHash is keyHash of a key that begins with this token.
func tokenHash(token uint64) uint64 {
	x := (token ^ token>>32) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// cellOf chooses one of n cells by the upper bits of a hash.
func cellOf(h uint64, n uint32) int {
	hi, _ := bits.Mul64(h, uint64(n))
	return int(hi)
}

// spread makes of a hash the number whose digits, bitsPerLocation each, are the locations.
func spread(h uint64) uint64 {
	x := h * 0xff51afd7ed558ccd
	return x ^ x>>33
}

// locations are the bits of a key within its cell.
func locations(h uint64) (locs [maxProbes]uint64) {
	x := spread(h)
	for i := range locs {
		locs[i] = x & (cellBits - 1)
		x >>= bitsPerLocation
	}
	return locs
}

// appendFilter appends the header and the cells of a filter of these hashes.
func appendFilter(dst []byte, hashes []uint64, bitsPerKey int) []byte {
	cells := (len(hashes)*bitsPerKey + cellBits - 1) / cellBits
	probes := min(max(bitsPerKey*69/100, 1), maxProbes)
	if cells == 0 {
		probes = 0
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(cells))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(probes))
	if cells == 0 {
		return dst
	}
	start := len(dst)
	dst = slices.Grow(dst, cells*cellSize)[:start+cells*cellSize]
	clear(dst[start:])
	for _, h := range hashes {
		cell := (*[cellSize]byte)(dst[start+cellOf(h, uint32(cells))*cellSize:])
		locs := locations(h)
		for _, l := range locs[:probes] {
			cell[l/8] |= 1 << (l % 8)
		}
	}
	return dst
}

// partition is a view of a partition's contents.
type partition struct {
	cells  []byte
	probes int
	index  block
}

func parsePartition(data []byte) (p partition, ok bool) {
	if len(data) < partitionHeader {
		return p, false
	}
	cells, probes := int(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:]))
	data = data[partitionHeader:]
	if cells > len(data)/cellSize || probes > maxProbes {
		return p, false
	}
	p.cells, p.probes = data[:cells*cellSize], probes
	p.index, ok = parseBlock(data[cells*cellSize:])
	return p, ok
}

// mayHave reports whether the partition may have a key of this hash. Without a filter it may have any. The bits are those
// that bloom.TestLocations would test, looked at in place and no further than the first that is not set.
func (p *partition) mayHave(h uint64) bool {
	if len(p.cells) == 0 {
		return true
	}
	cell := (*[cellSize]byte)(p.cells[cellOf(h, uint32(len(p.cells)/cellSize))*cellSize:])
	x := spread(h)
	for range p.probes {
		if cell[x&(cellBits-1)>>3]&(1<<(x&7)) == 0 {
			return false
		}
		x >>= bitsPerLocation
	}
	return true
}
