package compaction

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the outcome into the scripts instead of comparing")

// TestPickScripts runs testdata/pick_*.txt. A case draws the levels and is followed by "->" and what is picked:
//
//	options trigger=4 base=100 table=10
//	L0 3[a-z]10 2[b-x]10!
//	L1 1[c-d]50/5
//	-> nothing
//
// A file is number[smallest-largest]size, then ! when it is busy, /n for n deletions of 10 entries, ~ for a range deletion.
func TestPickScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/pick_*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range scripts {
		t.Run(filepath.Base(name), func(t *testing.T) { runScript(t, name) })
	}
}

func runScript(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	levels, o := make(Levels, 7), Options{}
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "" || word == "#":
		case word == "options":
			for setting := range strings.FieldsSeq(rest) {
				key, value, _ := strings.Cut(setting, "=")
				field := map[string]any{"trigger": &o.L0Trigger, "base": &o.BaseBytes, "table": &o.TableBytes, "ratio": &o.Ratio}[key]
				if _, err := fmt.Sscan(value, field); err != nil {
					t.Fatalf("%s:%d: %s: %v", name, n+1, setting, err)
				}
			}
		case word[0] == 'L':
			for file := range strings.FieldsSeq(rest) {
				l := int(word[1] - '0')
				levels[l] = append(levels[l], parseFile(t, file))
			}
		case word == "->":
			got := "-> " + drawPlan(Pick(levels, o))
			if got != line && !*rewrite {
				t.Errorf("%s:%d:\n got %s\nwant %s", name, n+1, got, line)
			}
			line, levels = got, make(Levels, 7)
		default:
			t.Fatalf("%s:%d: %q", name, n+1, line)
		}
		out.WriteString(line + "\n")
	}
	if *rewrite {
		if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func parseFile(t *testing.T, s string) File {
	t.Helper()
	f := File{Entries: 10}
	s, ranges := strings.CutSuffix(s, "~")
	if ranges {
		f.Ranges = 1
	}
	s, f.Busy = strings.CutSuffix(s, "!")
	s, deletes, some := strings.Cut(s, "/")
	if some {
		if _, err := fmt.Sscan(deletes, &f.Deletes); err != nil {
			t.Fatal(s, err)
		}
	}
	num, s, _ := strings.Cut(s, "[")
	span, size, _ := strings.Cut(s, "]")
	lo, hi, _ := strings.Cut(span, "-")
	f.Smallest, f.Largest = []byte(lo), []byte(hi)
	if _, err := fmt.Sscan(num, &f.Num); err != nil {
		t.Fatal(s, err)
	}
	if _, err := fmt.Sscan(size, &f.Size); err != nil {
		t.Fatal(s, err)
	}
	return f
}

func drawPlan(p Plan, ok bool) string {
	if !ok {
		return "nothing"
	}
	var s strings.Builder
	s.WriteString(fmt.Sprintf("L%d to L%d:", p.Level, p.Output))
	for _, f := range p.Inputs {
		s.WriteString(fmt.Sprintf(" %d", f.Num))
	}
	if len(p.Overlaps) > 0 {
		s.WriteString(" into")
	}
	for _, f := range p.Overlaps {
		s.WriteString(fmt.Sprintf(" %d", f.Num))
	}
	if len(p.Cuts) > 0 {
		s.WriteString(fmt.Sprintf(" cut at %s", bytes.Join(p.Cuts, []byte(" "))))
	}
	if p.Bottom {
		s.WriteString(", bottom")
	}
	if p.Move {
		s.WriteString(", move")
	}
	return s.String()
}

// TestPickKeepsLevelsWhole lets random flushes be compacted by what Pick says, several plans running at a time, and checks
// what must hold of the levels after each.
func TestPickKeepsLevelsWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	o := Options{L0Trigger: 4, BaseBytes: 100, TableBytes: 10, Ratio: 4}
	levels := make(Levels, 7)
	num := uint64(0)
	var running []Plan
	finish := func() {
		i := r.IntN(len(running))
		apply(levels, running[i], &num, o)
		running = slices.Delete(running, i, i+1)
		checkLevels(t, levels)
	}
	written := int64(0)
	for range 2000 {
		num++
		written += 10
		levels[0] = slices.Insert(levels[0], 0, randomFile(r, num))
		for len(running) < 3 {
			p, ok := Pick(levels, o)
			if !ok {
				break
			}
			running = append(running, clonePlan(p))
			setBusy(levels, p)
		}
		for len(running) > 0 && r.IntN(2) == 0 {
			finish()
		}
	}
	for {
		if p, ok := Pick(levels, o); ok {
			running = append(running, clonePlan(p))
			setBusy(levels, p)
		} else if len(running) == 0 {
			break
		} else {
			finish()
		}
	}
	last, upper := totalSize(levels[6]), int64(0)
	for _, files := range levels[:6] {
		upper += totalSize(files)
	}
	if last+upper != written || upper > last/2 {
		t.Errorf("%d bytes written, %d in the last level, %d above", written, last, upper)
	}
	if len(levels[0]) >= 4 {
		t.Errorf("%d tables stay in level 0", len(levels[0]))
	}
	for {
		p, ok := PickAll(levels, o)
		if !ok {
			break
		}
		apply(levels, clonePlan(p), &num, o)
		checkLevels(t, levels)
	}
	if !levelsEmpty(levels[:6]) {
		t.Error("levels above the last one are not empty after all is compacted")
	}
}

func randomFile(r *rand.Rand, num uint64) File {
	lo, hi := r.IntN(1000), r.IntN(1000)
	lo, hi = min(lo, hi), max(lo, hi)
	return File{Num: num, Size: 10, Smallest: fmt.Appendf(nil, "%04d", lo), Largest: fmt.Appendf(nil, "%04d", hi), Entries: 10, Deletes: r.Uint64N(11)}
}

func clonePlan(p Plan) Plan {
	p.Inputs, p.Overlaps = slices.Clone(p.Inputs), slices.Clone(p.Overlaps)
	return p
}

func setBusy(levels Levels, p Plan) {
	for _, f := range slices.Concat(p.Inputs, p.Overlaps) {
		for _, files := range levels {
			for i := range files {
				if files[i].Num == f.Num {
					files[i].Busy = true
				}
			}
		}
	}
}

// apply replaces the inputs of a plan by outputs of the same size over the same keys.
func apply(levels Levels, p Plan, num *uint64, o Options) {
	in := slices.Concat(p.Inputs, p.Overlaps)
	lo, hi := bounds(in)
	gone := func(f File) bool { return slices.ContainsFunc(in, func(g File) bool { return g.Num == f.Num }) }
	levels[p.Level] = slices.DeleteFunc(levels[p.Level], gone)
	levels[p.Output] = slices.DeleteFunc(levels[p.Output], gone)
	var from, to int
	fmt.Sscan(strings.TrimLeft(string(lo), "0")+" ", &from)
	fmt.Sscan(strings.TrimLeft(string(hi), "0")+" ", &to)
	size := totalSize(in)
	parts := int(min(max(size/o.TableBytes, 1), int64(to-from+1)))
	for i := range parts {
		*num++
		a, b := from+(to-from+1)*i/parts, from+(to-from+1)*(i+1)/parts-1
		f := File{Num: *num, Size: size / int64(parts), Smallest: fmt.Appendf(nil, "%04d", a), Largest: fmt.Appendf(nil, "%04d", b), Entries: 10}
		if i == 0 {
			f.Size += size % int64(parts)
		}
		levels[p.Output] = append(levels[p.Output], f)
	}
	slices.SortFunc(levels[p.Output], func(a, b File) int { return bytes.Compare(a.Smallest, b.Smallest) })
}

func checkLevels(t *testing.T, levels Levels) {
	t.Helper()
	for l, files := range levels[1:] {
		for i := 1; i < len(files); i++ {
			if bytes.Compare(files[i-1].Largest, files[i].Smallest) >= 0 {
				t.Fatalf("L%d: %d[%s-%s] overlaps %d[%s-%s]", l+1, files[i-1].Num, files[i-1].Smallest, files[i-1].Largest, files[i].Num, files[i].Smallest, files[i].Largest)
			}
		}
	}
}

func TestCovered(t *testing.T) {
	levels := make(Levels, 3)
	for i, span := range []string{"a-c", "d-f", "g-m", "n-z"} {
		levels[i%3] = append(levels[i%3], File{Num: uint64(i), Smallest: []byte(span[:1]), Largest: []byte(span[2:]), MaxSeq: uint64(10 * i)})
	}
	nums := func(files []File) (n []uint64) {
		for _, f := range files {
			n = append(n, f.Num)
		}
		return n
	}
	if got := nums(Covered(levels, []byte("b"), []byte("z"), 15, nil)); !slices.Equal(got, []uint64{1}) {
		t.Error(got)
	}
	if got := nums(Covered(levels, []byte("a"), []byte("zz"), 100, []uint64{100})); !slices.Equal(got, []uint64{0, 3, 1, 2}) {
		t.Error(got)
	}
	if got := nums(Covered(levels, []byte("a"), []byte("zz"), 100, []uint64{99})); got != nil {
		t.Error("files were dropped below a snapshot:", got)
	}
}
