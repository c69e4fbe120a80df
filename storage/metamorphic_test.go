package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/storage/key"
	"kvstore/storage/vfs"
)

// act is one step of a program: what is done, and what it needs.
type act struct {
	kind acting
	ops  []modelOp
	key  string
	// lower and upper are the bounds of an iterator, "" for none.
	lower, upper string
	// which is the snapshot or iterator meant, of those open.
	which int
	moves []move
}

type acting uint8

const (
	applies acting = iota
	sets
	gets
	takesSnapshot
	readsSnapshot
	closesSnapshot
	opensIter
	movesIter
	closesIter
	commits
	flushes
	compacts
	copies
	restarts
	kills
)

// move is one move of an iterator; only seeks have a key.
type move struct {
	how byte // 'f'irst, 'l'ast, 'n'ext, 'p'rev, 's'eek, 'b'efore
	key string
}

// metaKeys are the keys of a program: most like users', some that begin with others, some system keys.
func metaKeys(r *rand.Rand) []string {
	var keys []string
	for i := range 220 {
		keys = append(keys, string(key.AppendUser(nil, r.Uint64()>>2, uint8(i%3), fmt.Appendf(nil, "key:%d", i))))
	}
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("%s%d", "prefixprefixprefix"[:i%18], i%7), string([]byte{0x40 + byte(i%5), byte(i)}))
	}
	return keys
}

// program is a random list of steps.
func program(r *rand.Rand, steps int) []act {
	keys := metaKeys(r)
	any := func() string { return keys[r.IntN(len(keys))] }
	bound := func() string {
		if r.IntN(2) == 0 {
			return ""
		}
		return any()
	}
	op := func(n int) modelOp {
		switch what := r.IntN(100); {
		case what < 72:
			size := r.IntN(150)
			if r.IntN(40) == 0 {
				size = r.IntN(9000)
			}
			return modelOp{kind: 's', key: any(), value: fmt.Sprintf("%d-%x", n, make([]byte, size/2))}
		case what < 97:
			return modelOp{kind: 'd', key: any()}
		}
		lo, hi := any(), any()
		return modelOp{kind: 'r', key: min(lo, hi), hi: max(lo, hi) + "\x00"}
	}
	moves := func() []move {
		all := []move{{"fl"[r.IntN(2)], ""}, {"sb"[r.IntN(2)], any()}}
		all = all[r.IntN(2) : r.IntN(2)+1]
		for range r.IntN(25) {
			switch r.IntN(12) {
			case 0:
				all = append(all, move{"sb"[r.IntN(2)], any()})
			case 1:
				all = append(all, move{"fl"[r.IntN(2)], ""})
			case 2, 3, 4:
				all = append(all, move{'p', ""})
			default:
				all = append(all, move{'n', ""})
			}
		}
		return all
	}
	var all []act
	for n := range steps {
		a := act{which: r.IntN(1000)}
		switch what := r.IntN(1000); {
		case what < 400:
			a.kind, a.ops = sets, []modelOp{op(n)}
		case what < 520:
			a.kind = applies
			for range 1 + r.IntN(30) {
				a.ops = append(a.ops, op(n))
			}
		case what < 700:
			a.kind, a.key = gets, any()
		case what < 720:
			a.kind = takesSnapshot
		case what < 770:
			a.kind, a.key, a.lower, a.upper, a.moves = readsSnapshot, any(), bound(), bound(), moves()
		case what < 785:
			a.kind = closesSnapshot
		case what < 825:
			a.kind, a.lower, a.upper, a.moves = opensIter, bound(), bound(), moves()
		case what < 890:
			a.kind, a.moves = movesIter, moves()
		case what < 920:
			a.kind = closesIter
		case what < 960:
			a.kind = commits
		case what < 972:
			a.kind = flushes
		case what < 978:
			a.kind = compacts
		case what < 983:
			a.kind = copies
		case what < 992:
			a.kind = restarts
		default:
			a.kind = kills
		}
		all = append(all, a)
	}
	return all
}

// machine is what a program runs on: an engine, or a sorted map. Its methods return what is to be seen.
type machine interface {
	apply(ops []modelOp, alone bool)
	get(key string) string
	snapshot()
	// Snapshots and iterators are numbered from the oldest open one; there is one when the program asks.
	getAt(snapshot int, key string) string
	iter(snapshot int, lower, upper string) // -1 is the present
	move(iter int, m move) string
	closeIter(iter int)
	closeSnapshot(snapshot int)
	maintain(kind acting) string
}

// perform runs a program and returns what was to be seen at each step.
func perform(m machine, acts []act) []string {
	seen := make([]string, len(acts))
	snapshots, iters := 0, 0
	walk := func(iter int, moves []move) (path string) {
		for _, mv := range moves {
			path += m.move(iter, mv) + " "
		}
		return path
	}
	closeAll := func() {
		for ; iters > 0; iters-- {
			m.closeIter(0)
		}
		for ; snapshots > 0; snapshots-- {
			m.closeSnapshot(0)
		}
	}
	for n, a := range acts {
		switch a.kind {
		case applies, sets:
			m.apply(a.ops, a.kind == sets)
		case gets:
			seen[n] = m.get(a.key)
		case takesSnapshot:
			if snapshots < 4 {
				m.snapshot()
				snapshots++
			}
		case readsSnapshot:
			if snapshots > 0 {
				at := a.which % snapshots
				seen[n] = m.getAt(at, a.key)
				m.iter(at, a.lower, a.upper)
				seen[n] += walk(iters, a.moves)
				m.closeIter(iters)
			}
		case closesSnapshot:
			if snapshots > 0 {
				m.closeSnapshot(a.which % snapshots)
				snapshots--
			}
		case opensIter:
			if iters < 4 {
				m.iter(-1, a.lower, a.upper)
				seen[n] = walk(iters, a.moves)
				iters++
			}
		case movesIter:
			if iters > 0 {
				seen[n] = walk(a.which%iters, a.moves)
			}
		case closesIter:
			if iters > 0 {
				m.closeIter(a.which % iters)
				iters--
			}
		default:
			if a.kind == restarts || a.kind == kills {
				closeAll()
			}
			seen[n] = m.maintain(a.kind)
		}
	}
	closeAll()
	return seen
}

// oracle is the machine that cannot be wrong.
type oracle struct {
	now       map[string]string
	snapshots []map[string]string
	iters     []*oracleIter
}

type oracleIter struct {
	of   map[string]string
	keys []string
	at   int // -1 and len(keys) are nowhere
}

func (s *oracle) apply(ops []modelOp, _ bool) {
	for _, o := range ops {
		o.apply(s.now)
	}
}

func show(value string, found bool) string {
	if !found {
		return "absent"
	}
	return fmt.Sprintf("%.12s/%d", value, len(value))
}

func showAt(key, value string) string { return fmt.Sprintf("%x=%s", key, show(value, true)) }

func lookup(m map[string]string, key string) string {
	v, found := m[key]
	return show(v, found)
}

func (s *oracle) get(key string) string                 { return lookup(s.now, key) }
func (s *oracle) getAt(snapshot int, key string) string { return lookup(s.snapshots[snapshot], key) }
func (s *oracle) snapshot()                             { s.snapshots = append(s.snapshots, maps.Clone(s.now)) }

func (s *oracle) iter(snapshot int, lower, upper string) {
	of := s.now
	if snapshot >= 0 {
		of = s.snapshots[snapshot]
	}
	i := &oracleIter{of: maps.Clone(of), at: -1}
	i.keys = slices.DeleteFunc(slices.Sorted(maps.Keys(i.of)), func(k string) bool { return k < lower || upper != "" && k >= upper })
	s.iters = append(s.iters, i)
}

func (s *oracle) move(iter int, m move) string {
	i := s.iters[iter]
	valid := i.at >= 0 && i.at < len(i.keys)
	switch m.how {
	case 'f':
		i.at = 0
	case 'l':
		i.at = len(i.keys) - 1
	case 's':
		i.at, _ = slices.BinarySearch(i.keys, m.key)
	case 'b':
		i.at, _ = slices.BinarySearch(i.keys, m.key)
		i.at--
	case 'n', 'p':
		// Who stands nowhere stays there.
		if !valid {
			break
		}
		i.at++
		if m.how == 'p' {
			i.at -= 2
		}
	}
	if i.at < 0 || i.at >= len(i.keys) {
		i.at = -1
		return "-"
	}
	return showAt(i.keys[i.at], i.of[i.keys[i.at]])
}

func (s *oracle) closeIter(iter int) { s.iters = slices.Delete(s.iters, iter, iter+1) }
func (s *oracle) closeSnapshot(snapshot int) {
	s.snapshots = slices.Delete(s.snapshots, snapshot, snapshot+1)
}

func (s *oracle) maintain(kind acting) string {
	if kind == copies || kind == restarts || kind == kills {
		return fmt.Sprint(len(s.now), digestMap(s.now))
	}
	return ""
}

// TestSameUnderAllOptions runs one program of random operations under many sets of options, drawn anew at each restart,
// and expects that nobody can tell them apart, nor from a sorted map.
func TestSameUnderAllOptions(t *testing.T) {
	const steps, sets = 1200, 5
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		acts := program(rand.New(rand.NewPCG(seed, 11)), steps)
		want := perform(&oracle{now: map[string]string{}}, acts)
		for set := range uint64(sets) {
			t.Run(fmt.Sprint(set), func(t *testing.T) {
				t.Parallel()
				e := &engine{t: t, r: rand.New(rand.NewPCG(seed, 100+set)), disk: vfs.NewMem()}
				e.open()
				got := perform(e, acts)
				e.check(e.db.Close())
				for n := range want {
					if got[n] != want[n] {
						t.Fatalf("step %d, %+v:\n got %s\nwant %s\nunder %+v", n, acts[n].kind, got[n], want[n], e.options)
					}
				}
			})
		}
	})
}
