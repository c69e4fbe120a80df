package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// meter follows one system through its quiet times and its changes.
type meter struct {
	*bench
	system system
	crew   *crew

	idle   time.Duration // processor time of the servers in the first quiet time
	quiets []window      // one before each step, and one after all
	steps  []step
}

// step is a change of the system.
type step struct {
	name string
	do   func(context.Context) (change, error)

	change change
	moving window
	work   time.Duration // processor time of the servers
}

func newMeter(b *bench, s system, c *crew) *meter {
	m := &meter{bench: b, system: s, crew: c, steps: []step{{name: "joins", do: s.grow}, {name: "leaves", do: s.shrink}}}
	if b.returns {
		m.steps = []step{{name: "is back", do: s.back}}
	}
	return m
}

// result is what came of a round.
type result struct {
	quiet   latencies // before the first change
	changes []changed
	stale   int
	lost    int
}

// changed is a change as servers and clients saw it.
type changed struct {
	change
	name    string
	took    time.Duration
	cpu     time.Duration // for each key that was moved
	clients latencies
	of      float64 // their p99, divided by that of the quiet times around
}

// phases lets time pass and the system change.
func (m *meter) phases(ctx context.Context) (err error) {
	if err := pass(ctx, m.warmUp); err != nil {
		return err
	}
	if m.idle, err = m.rest(ctx); err != nil {
		return err
	}
	for i := range m.steps {
		s := &m.steps[i]
		before, err := m.used()
		if err != nil {
			return err
		}
		patient, cancel := context.WithTimeout(ctx, changeWithin)
		s.moving.from = m.crew.now()
		s.change, err = s.do(patient)
		s.moving.to = m.crew.now()
		cancel()
		if err != nil {
			return err
		}
		after, err := m.used()
		if err != nil {
			return err
		}
		s.work = after.since(before)
		if _, err := m.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rest lets a quiet time pass, and returns the processor time of the servers.
func (m *meter) rest(ctx context.Context) (time.Duration, error) {
	before, err := m.used()
	if err != nil {
		return 0, err
	}
	quiet := window{from: m.crew.now()}
	err = pass(ctx, m.quiet)
	quiet.to = m.crew.now()
	m.quiets = append(m.quiets, quiet)
	after, failure := m.used()
	return after.since(before), errors.Join(err, failure)
}

// times is the processor time of processes by their id.
type times map[int]time.Duration

// since is what was used since before by those that are there still: what a server that has
// left used in its last moments is not known.
func (t times) since(before times) (d time.Duration) {
	for pid, used := range t {
		d += used - before[pid]
	}
	return d
}

func (m *meter) used() (times, error) {
	t := times{}
	for _, s := range m.system.servers() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid()))
		if err != nil {
			return nil, fmt.Errorf("read the processor time of %s: %w", s.Name, err)
		}
		if t[s.Pid()], err = processorTime(text); err != nil {
			return nil, fmt.Errorf("read the processor time of %s: %w", s.Name, err)
		}
	}
	return t, nil
}

// processorTime gives utime + stime of /proc/<pid>/stat: fields 14 and 15, counted behind
// the name, which is in parentheses and may contain anything. Their unit, USER_HZ, is a
// hundredth of a second wherever Go runs.
func processorTime(text []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= stime {
		return 0, fmt.Errorf("%d fields behind the name", len(fields))
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// result sums up. The clients have ended.
func (m *meter) result() (r result) {
	r.quiet, r.stale = m.crew.during(m.quiets[0]), m.crew.stale()
	for i, s := range m.steps {
		out := changed{change: s.change, name: s.name, took: s.moving.length(), clients: m.crew.during(s.moving)}
		if out.bytes == 0 {
			out.bytes = int64(float64(out.keys) / float64(m.keys) * float64(m.bytes))
		}
		idle := time.Duration(float64(m.idle) / float64(m.quiets[0].length()) * float64(out.took))
		out.cpu = max(s.work-idle, 0) / time.Duration(max(out.keys, 1))
		out.of = ratio(float64(out.clients.p99), float64(m.crew.during(m.quiets[i], m.quiets[i+1]).p99))
		r.changes = append(r.changes, out)
	}
	return r
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// least is how many bytes had to move.
func (b *bench) least(c change) float64 {
	return ratio(float64(c.least), float64(c.all)) * float64(b.bytes)
}

// tell says what came of a round.
func (b *bench) tell(m *meter, r *result) {
	for i, c := range r.changes {
		fmt.Fprintf(b.progress, "  %s: %.1f s, %d of at least %d parts of %d, %d keys, %.1f of %.1f MB; p99 %s ms, quiet %s ms\n", c.name, c.took.Seconds(),
			c.parts, c.least, c.all, c.keys, float64(c.bytes)/1e6, b.least(c.change)/1e6, ms(c.clients.p99), ms(r.quiet.p99))
		if b.verbose {
			fmt.Fprintf(b.progress, "    p99 by the second: %s\n", msAll(m.crew.secondly(m.steps[i].moving)))
		}
	}
	fmt.Fprintf(b.progress, "  %d stale, %d lost\n", r.stale, r.lost)
	if b.verbose {
		fmt.Fprintf(b.progress, "    p99 by the second, quiet: %s\n", msAll(m.crew.secondly(m.quiets[0])))
		texts := m.crew.texts()
		for _, text := range sortedTexts(texts) {
			fmt.Fprintf(b.progress, "    error %q: %d\n", text, texts[text])
		}
	}
}

func ms(d time.Duration) string { return strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64) }

func msAll(ds []time.Duration) string {
	var words []string
	for _, d := range ds {
		words = append(words, ms(d))
	}
	return strings.Join(words, " ")
}

// print writes the table: medians of the rounds.
func (b *bench) print(results map[string][]result) error {
	table := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "system\tnode\ts\tkeys moved\tMB moved\tleast MB\tmoved/least\tkeys/s\tCPU µs/key\tp50\tp99\tp99.9\tmax\tof quiet\terrors\tstale\tlost\t")
	for _, name := range b.systems {
		rs := results[name]
		l := middle(rs, func(r result) latencies { return r.quiet })
		fmt.Fprintf(table, "%s\tquiet\t%.1f\t\t\t\t\t\t\t%s\t%s\t%s\t%s\t\t%d\t\t\t\n", name, b.quiet.Seconds(), ms(l.p50), ms(l.p99), ms(l.p999), ms(l.max), l.errors)
		for i := range rs[0].changes {
			of := func(f func(c changed) float64) float64 {
				return median(rs, func(r result) float64 { return f(r.changes[i]) })
			}
			l := middle(rs, func(r result) latencies { return r.changes[i].clients })
			moved, least := of(func(c changed) float64 { return float64(c.bytes) }), of(func(c changed) float64 { return b.least(c.change) })
			stale, gone := "", ""
			if i == len(rs[0].changes)-1 { // both are of the whole time
				stale, gone = sum(rs, func(r result) int { return r.stale }), sum(rs, func(r result) int { return r.lost })
			}
			fmt.Fprintf(table, "\t%s\t%.1f\t%.0f\t%.1f\t%.1f\t%.2f\t%.0f\t%.1f\t%s\t%s\t%s\t%s\t%.2f\t%d\t%s\t%s\t\n", rs[0].changes[i].name,
				of(func(c changed) float64 { return c.took.Seconds() }), of(func(c changed) float64 { return float64(c.keys) }),
				moved/1e6, least/1e6, ratio(moved, least), of(func(c changed) float64 { return float64(c.keys) / c.took.Seconds() }),
				of(func(c changed) float64 { return float64(c.cpu) / 1e3 }), ms(l.p50), ms(l.p99), ms(l.p999), ms(l.max),
				of(func(c changed) float64 { return c.of }), l.errors, stale, gone)
		}
	}
	return table.Flush()
}

// middle returns the medians of latencies, and the sums of what is counted.
func middle(rs []result, of func(result) latencies) (l latencies) {
	at := func(f func(latencies) time.Duration) time.Duration {
		return time.Duration(median(rs, func(r result) float64 { return float64(f(of(r))) }))
	}
	for _, r := range rs {
		l.count, l.errors = l.count+of(r).count, l.errors+of(r).errors
	}
	l.p50, l.p99 = at(func(l latencies) time.Duration { return l.p50 }), at(func(l latencies) time.Duration { return l.p99 })
	l.p999, l.max = at(func(l latencies) time.Duration { return l.p999 }), at(func(l latencies) time.Duration { return l.max })
	return l
}

func median(rs []result, of func(result) float64) float64 {
	var values []float64
	for _, r := range rs {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func sum(rs []result, of func(result) int) string {
	total := 0
	for _, r := range rs {
		total += of(r)
	}
	return strconv.Itoa(total)
}
