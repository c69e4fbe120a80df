package memtable

import (
	"bytes"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/entry"
)

// Set adds a record. Key and value are copied. One call at a time; readers may run beside it.
func (t *Table) Set(key []byte, seq uint64, kind entry.Kind, value []byte) {
	t.count.Add(1)
	k := newSearchKey(key)
	i, pos := t.rootSlot(k.prefix)
	slot := &t.root[i]
	for {
		r := atomic.LoadUint32(slot)
		if r == 0 {
			e, _ := t.newEntry(key, seq, kind, value)
			atomic.StoreUint32(slot, e)
			t.occupied.set(i)
			return
		}
		p := t.arena.at(r)
		w := word(p)
		switch w & typeMask {
		case typeEntry:
			if bytes.Equal(entryKey(p), key) {
				t.addVersion(p, seq, kind, value)
				return
			}
			e, _ := t.newEntry(key, seq, kind, value)
			old := newSearchKey(entryKey(p))
			atomic.StoreUint32(slot, t.newLeaf([]uint64{makePair(old.tag, r), makePair(k.tag, e)}))
			return
		case typeLeaf:
			t.setInLeaf(slot, p, pos, &k, seq, kind, value)
			return
		default:
			at := nodePos(w)
			if at > pos {
				// Bits are skipped here; a key that differs in them needs a node of its own above.
				rep := t.arena.at(*field(p, 4))
				if common := commonBits(key, entryKey(rep)); common < at {
					e, _ := t.newEntry(key, seq, kind, value)
					atomic.StoreUint32(slot, t.fork(r, rep, e, &k, pos+(common-pos)&^(nodeBits-1)))
					return
				}
			}
			slot, pos = child(p, k.nibble(at)), at+nodeBits
		}
	}
}

func makePair(tag uint32, e ref) uint64 { return uint64(tag)<<32 | uint64(e) }

// setInLeaf adds a record below a slot that holds a leaf.
func (t *Table) setInLeaf(slot *ref, leaf unsafe.Pointer, pos int, k *searchKey, seq uint64, kind entry.Kind, value []byte) {
	pairs := leafCap(word(leaf))
	n, e := t.scanLeaf(leaf, pairs, k)
	if e != nil {
		t.addVersion(e, seq, kind, value)
		return
	}
	fresh, _ := t.newEntry(k.bytes, seq, kind, value)
	added := makePair(k.tag, fresh)
	if n < pairs {
		atomic.StoreUint64(pair(leaf, n), added)
		return
	}
	all := make([]uint64, 0, fullLeaf+1) // stays on the stack unless the leaf is an overgrown one
	for i := range pairs {
		all = append(all, *pair(leaf, i))
	}
	all = append(all, added)
	if pairs < fullLeaf {
		atomic.StoreUint32(slot, t.newLeaf(all))
		return
	}
	atomic.StoreUint32(slot, t.burst(all, pos))
}

// burst makes a node at or after a bit position of the pairs of a full leaf. Keys that cannot be parted get a larger leaf.
func (t *Table) burst(pairs []uint64, pos int) ref {
	first := entryKey(t.arena.at(ref(pairs[0])))
	common := endless
	for _, x := range pairs[1:] {
		common = min(common, commonBits(first, entryKey(t.arena.at(ref(x)))))
	}
	if common == endless {
		return t.newLeaf(pairs)
	}
	r, p := t.newNode(pos+(common-pos)&^(nodeBits-1), ref(pairs[0]))
	at := nodePos(word(p))
	group := make([]uint64, 0, fullLeaf+1)
	for n := range uint(nodeSlots) {
		group = group[:0]
		for _, x := range pairs {
			k := newSearchKey(entryKey(t.arena.at(ref(x))))
			if k.nibble(at) == n {
				group = append(group, x)
			}
		}
		switch len(group) {
		case 0:
		case 1:
			*child(p, n) = ref(group[0])
		default:
			*child(p, n) = t.newLeaf(group)
		}
	}
	return r
}

// fork makes a node above an existing one, whose keys differ from a new key in the four bits at pos.
func (t *Table) fork(below ref, rep unsafe.Pointer, e ref, k *searchKey, pos int) ref {
	r, p := t.newNode(pos, e)
	other := newSearchKey(entryKey(rep))
	*child(p, other.nibble(pos)) = below
	*child(p, k.nibble(pos)) = e
	return r
}

func (t *Table) newNode(pos int, rep ref) (ref, unsafe.Pointer) {
	r, p := t.arena.alloc(headerSize + 4*nodeSlots)
	*field(p, 0) = uint32(pos)<<2 | typeNode
	*field(p, 4) = rep
	return r, p
}

// newLeaf makes a leaf of these pairs, with room for more.
func (t *Table) newLeaf(pairs []uint64) ref {
	size := smallLeaf
	for size < len(pairs) {
		size = 2*size + 1
	}
	r, p := t.arena.alloc(headerSize + 8*size)
	*field(p, 0) = uint32(size)<<2 | typeLeaf
	for i, x := range pairs {
		*pair(p, i) = x
	}
	return r
}

// newEntry makes an entry whose first version lies right behind its key, so that finding both is one access to memory.
func (t *Table) newEntry(key []byte, seq uint64, kind entry.Kind, value []byte) (ref, unsafe.Pointer) {
	head := (headerSize + len(key) + unit - 1) &^ (unit - 1)
	r, p := t.arena.alloc(head + versionHead + len(value))
	*field(p, 0) = uint32(len(key))<<2 | typeEntry
	*field(p, 4) = r + uint32(head/unit)
	copy(entryKey(p), key)
	fillVersion(unsafe.Add(p, head), seq, kind, 0, value)
	return r, p
}

func fillVersion(p unsafe.Pointer, seq uint64, kind entry.Kind, older ref, value []byte) {
	*(*uint64)(p) = seq<<8 | uint64(kind)
	*field(p, 8) = older
	*field(p, 12) = uint32(len(value))
	copy(versionValue(p), value)
}

// addVersion puts a record into the chain of its key, before the first that is not newer.
func (t *Table) addVersion(e unsafe.Pointer, seq uint64, kind entry.Kind, value []byte) {
	link := field(e, 4)
	older := atomic.LoadUint32(link)
	for older != 0 {
		v := t.arena.at(older)
		if versionSeq(v) <= seq {
			break
		}
		link = field(v, 8)
		older = atomic.LoadUint32(link)
	}
	r, p := t.arena.alloc(versionHead + len(value))
	fillVersion(p, seq, kind, older, value)
	atomic.StoreUint32(link, r)
}
