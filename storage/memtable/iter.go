package memtable

import (
	"bytes"
	"slices"
	"sync/atomic"
	"unsafe"

	"kvstore/storage/entry"
	"kvstore/storage/prefetch"
)

var _ entry.Iterator = (*Iter)(nil)

// Iter walks a table. It shows every record that was there when it was positioned, and may show some that came later.
type Iter struct {
	t     *Table
	root  int
	stack []frame // the nodes from the root slot down to the leaf
	// leaf is the sorted copy of the entries of the current leaf, so that a writer cannot disturb the walk.
	leaf []ref
	at   int

	entry   unsafe.Pointer
	version unsafe.Pointer
	// versions is the chain of the current entry from its head to version at versions[chain]; chain is -1 before it is
	// needed, which is when walking backwards.
	versions []ref
	chain    int

	// walked counts the root slots a forward walk has crossed: a long one fetches those before ahead in advance, and
	// touched keeps the loads alive that do it.
	walked, ahead int
	touched       uint32

	leafBuffer  [fullLeaf]ref
	stackBuffer [8]frame
}

type frame struct {
	node ref
	slot int
}

// NewIter returns an iterator that is not positioned yet.
func (t *Table) NewIter() *Iter {
	i := &Iter{}
	i.Reset(t)
	return i
}

// Reset makes an iterator that is new or closed one of t, not positioned yet.
func (i *Iter) Reset(t *Table) {
	i.t = t
	i.stack, i.leaf = i.stackBuffer[:0], i.leafBuffer[:0]
}

// First implements entry.Iterator.
func (i *Iter) First() bool {
	i.stack, i.root, i.walked, i.ahead = i.stack[:0], -1, 0, 0
	return i.nextLeaf() && i.settle(true)
}

// Last implements entry.Iterator.
func (i *Iter) Last() bool {
	i.stack, i.root = i.stack[:0], len(i.t.root)
	return i.prevLeaf() && i.settle(false)
}

// SeekGE implements entry.Iterator.
func (i *Iter) SeekGE(key []byte) bool {
	where, below := i.descend(key)
	switch where {
	case inside:
		for i.at = range i.leaf {
			if bytes.Compare(i.keyOf(i.leaf[i.at]), key) >= 0 {
				return i.settle(true)
			}
		}
	case before:
		i.enter(below, true)
		return i.settle(true)
	}
	return i.nextLeaf() && i.settle(true)
}

// SeekLT implements entry.Iterator.
func (i *Iter) SeekLT(key []byte) bool {
	where, below := i.descend(key)
	switch where {
	case inside:
		for i.at = len(i.leaf) - 1; i.at >= 0; i.at-- {
			if bytes.Compare(i.keyOf(i.leaf[i.at]), key) < 0 {
				return i.settle(false)
			}
		}
	case after:
		i.enter(below, false)
		return i.settle(false)
	}
	return i.prevLeaf() && i.settle(false)
}

// Next implements entry.Iterator.
func (i *Iter) Next() bool {
	if i.chain >= 0 && i.chain+1 < len(i.versions) {
		i.chain++
		i.version = i.t.arena.at(i.versions[i.chain])
		return true
	}
	i.chain = -1
	if r := olderVersion(i.version); r != 0 {
		i.version = i.t.arena.at(r)
		return true
	}
	if i.at++; i.at < len(i.leaf) {
		return i.settle(true)
	}
	return i.nextLeaf() && i.settle(true)
}

// Prev implements entry.Iterator.
func (i *Iter) Prev() bool {
	if i.chain < 0 {
		i.loadChain(i.version)
	}
	if i.chain > 0 {
		i.chain--
		i.version = i.t.arena.at(i.versions[i.chain])
		return true
	}
	if i.at--; i.at >= 0 {
		return i.settle(false)
	}
	return i.prevLeaf() && i.settle(false)
}

// Key implements entry.Iterator. The bytes stay valid for as long as they are referenced.
func (i *Iter) Key() []byte { return entryKey(i.entry) }

// Seq implements entry.Iterator.
func (i *Iter) Seq() uint64 { return versionSeq(i.version) }

// Kind implements entry.Iterator.
func (i *Iter) Kind() entry.Kind { return versionKind(i.version) }

// Value implements entry.Iterator. The bytes stay valid for as long as they are referenced.
func (i *Iter) Value() []byte { return versionValue(i.version) }

// Err implements entry.Iterator; there is nothing that can fail.
func (i *Iter) Err() error { return nil }

// Close implements entry.Iterator.
func (i *Iter) Close() error {
	*i = Iter{}
	return nil
}

func (i *Iter) keyOf(e ref) []byte { return entryKey(i.t.arena.at(e)) }

// settle stands on the newest version of the entry at i.at, or on the oldest.
func (i *Iter) settle(newest bool) bool {
	i.entry = i.t.arena.at(i.leaf[i.at])
	i.chain = -1
	if newest {
		i.version = i.t.arena.at(atomic.LoadUint32(field(i.entry, 4)))
	} else {
		i.loadChain(nil)
	}
	return true
}

// loadChain collects the versions of the current entry and stands on one of them, or on the oldest for nil.
func (i *Iter) loadChain(stand unsafe.Pointer) {
	i.versions = i.versions[:0]
	for r := atomic.LoadUint32(field(i.entry, 4)); r != 0; {
		v := i.t.arena.at(r)
		if v == stand {
			i.chain = len(i.versions)
		}
		i.versions = append(i.versions, r)
		r = olderVersion(v)
	}
	if stand == nil {
		i.chain = len(i.versions) - 1
		i.version = i.t.arena.at(i.versions[i.chain])
	}
}

// place is where a sought key lies relative to what descend came to.
type place uint8

const (
	nowhere place = iota // the slot is empty
	inside               // the loaded leaf is the only one that may hold the key
	before               // the key is before everything below the returned record
	after                // the key is after everything below the returned record
)

// descend goes towards a key from the root as far as the trie knows its bits.
func (i *Iter) descend(key []byte) (place, ref) {
	k := newSearchKey(key)
	slot, pos := i.t.rootSlot(k.prefix)
	i.root, i.stack, i.walked, i.ahead = slot, i.stack[:0], 0, 0
	r := atomic.LoadUint32(&i.t.root[slot])
	for r != 0 {
		p := i.t.arena.at(r)
		w := word(p)
		if w&typeMask != typeNode {
			i.loadLeaf(r, p, w)
			return inside, r
		}
		at := nodePos(w)
		if at > pos {
			rep := entryKey(i.t.arena.at(*field(p, 4)))
			if commonBits(key, rep) < at {
				if bytes.Compare(key, rep) < 0 {
					return before, r
				}
				return after, r
			}
		}
		n := k.nibble(at)
		i.stack = append(i.stack, frame{r, int(n)})
		r, pos = atomic.LoadUint32(child(p, n)), at+nodeBits
	}
	return nowhere, 0
}

// enter loads the first leaf below a record, or the last.
func (i *Iter) enter(r ref, first bool) {
	for {
		p := i.t.arena.at(r)
		w := word(p)
		if w&typeMask != typeNode {
			i.loadLeaf(r, p, w)
			if i.at = 0; !first {
				i.at = len(i.leaf) - 1
			}
			return
		}
		slot, step := 0, 1
		if !first {
			slot, step = nodeSlots-1, -1
		}
		below := atomic.LoadUint32(child(p, uint(slot)))
		for below == 0 { // a node is never empty
			slot += step
			below = atomic.LoadUint32(child(p, uint(slot)))
		}
		i.stack = append(i.stack, frame{r, slot})
		r = below
	}
}

// loadLeaf copies the entries of a leaf, or a lone entry, and sorts them.
func (i *Iter) loadLeaf(r ref, p unsafe.Pointer, w uint32) {
	i.leaf = i.leaf[:0]
	if w&typeMask == typeEntry {
		i.leaf = append(i.leaf, r)
		return
	}
	for n := range leafCap(w) {
		x := atomic.LoadUint64(pair(p, n))
		if x == 0 {
			break
		}
		i.leaf = append(i.leaf, ref(x))
	}
	if len(i.leaf) > fullLeaf {
		slices.SortFunc(i.leaf, func(a, b ref) int { return bytes.Compare(i.keyOf(a), i.keyOf(b)) })
		return
	}
	// All keys are fetched from memory at the same time, and mostly their first bytes decide.
	var prefixes [fullLeaf]uint64
	for n, e := range i.leaf {
		prefixes[n] = keyPrefix(i.keyOf(e))
	}
	for n := 1; n < len(i.leaf); n++ {
		e, prefix := i.leaf[n], prefixes[n]
		j := n
		for ; j > 0; j-- {
			if prefixes[j-1] < prefix || prefixes[j-1] == prefix && bytes.Compare(i.keyOf(i.leaf[j-1]), i.keyOf(e)) < 0 {
				break
			}
			i.leaf[j], prefixes[j] = i.leaf[j-1], prefixes[j-1]
		}
		i.leaf[j], prefixes[j] = e, prefix
	}
}

// aheadSlots is how many root slots a forward walk brings into the processor's cache at once: with some four records of two
// or three cache lines a slot more than it can fetch side by side.
const aheadSlots = 8

// fetchAhead touches what the slots after the current one lead to. One after another these would be a wait for the memory
// each, which is most of the cost of a walk; in a row of independent loads the waits are one.
func (i *Iter) fetchAhead() {
	var leaves [aheadSlots]unsafe.Pointer
	n, at := 0, i.root
	for n < aheadSlots {
		if at = i.t.occupied.after(at); at < 0 {
			at = len(i.t.root)
			break
		}
		leaves[n] = i.t.arena.at(atomic.LoadUint32(&i.t.root[at]))
		n, at = n+1, at+1
	}
	i.ahead = at
	var entries [aheadSlots * fullLeaf]unsafe.Pointer
	m := 0
	for _, p := range leaves[:n] {
		switch w := word(p); w & typeMask {
		case typeEntry:
			entries[m] = p
			m++
		case typeLeaf:
			for k := range min(leafCap(w), fullLeaf) {
				x := atomic.LoadUint64(pair(p, k))
				if x == 0 || m == len(entries) {
					break
				}
				entries[m] = i.t.arena.at(ref(x))
				m++
			}
		}
	}
	sum := uint32(0)
	for _, p := range entries[:m] {
		sum += atomic.LoadUint32(field(p, 4))
		prefetch.Behind(p, 64)
	}
	for _, p := range entries[:m] {
		v := i.t.arena.at(atomic.LoadUint32(field(p, 4)))
		sum += *field(v, 12)
		prefetch.Behind(v, 64) // the rest of the value, which is copied before long
		prefetch.Behind(v, 128)
	}
	i.touched = sum
}

// nextLeaf goes to the first leaf after the current place.
func (i *Iter) nextLeaf() bool {
	for len(i.stack) > 0 {
		top := &i.stack[len(i.stack)-1]
		p := i.t.arena.at(top.node)
		for top.slot++; top.slot < nodeSlots; top.slot++ {
			if r := atomic.LoadUint32(child(p, uint(top.slot))); r != 0 {
				i.enter(r, true)
				return true
			}
		}
		i.stack = i.stack[:len(i.stack)-1]
	}
	i.root = i.t.occupied.after(i.root + 1)
	if i.root < 0 {
		return false
	}
	if i.walked++; i.walked > aheadSlots && i.root >= i.ahead {
		i.fetchAhead()
	}
	i.enter(atomic.LoadUint32(&i.t.root[i.root]), true)
	return true
}

// prevLeaf goes to the last leaf before the current place.
func (i *Iter) prevLeaf() bool {
	for len(i.stack) > 0 {
		top := &i.stack[len(i.stack)-1]
		p := i.t.arena.at(top.node)
		for top.slot--; top.slot >= 0; top.slot-- {
			if r := atomic.LoadUint32(child(p, uint(top.slot))); r != 0 {
				i.enter(r, false)
				return true
			}
		}
		i.stack = i.stack[:len(i.stack)-1]
	}
	i.root = i.t.occupied.before(i.root - 1)
	if i.root < 0 {
		return false
	}
	i.enter(atomic.LoadUint32(&i.t.root[i.root]), false)
	return true
}
