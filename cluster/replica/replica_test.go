package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
	"kvstore/cluster/version"
)

// disk is a store whose records are cold until they are read once.
type disk struct {
	mu      sync.Mutex
	records map[string]string // guarded by mu
	cold    map[string]bool   // guarded by mu
	gate    chan struct{}     // a read of the disk waits until it is closed
}

func newDisk() *disk {
	d := &disk{records: map[string]string{}, cold: map[string]bool{}, gate: make(chan struct{})}
	close(d.gate)
	return d
}

// chill makes everything cold and holds reads back until the returned function
// is called.
func (d *disk) chill() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k := range d.records {
		d.cold[k] = true
	}
	gate := make(chan struct{})
	d.gate = gate
	return func() { close(gate) }
}

func (d *disk) Get(dst, key []byte) ([]byte, bool, error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	<-gate
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.cold, string(key))
	value, ok := d.records[string(key)]
	return append(dst, value...), ok, nil
}

func (d *disk) TryGet(dst, key []byte) ([]byte, bool, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cold[string(key)] {
		return dst, false, false, nil
	}
	value, ok := d.records[string(key)]
	return append(dst, value...), ok, true, nil
}

func (d *disk) Set(key, value []byte, _ uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[string(key)] = string(value)
	return nil
}

func (d *disk) Apply(c *Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range append(c.Beside, Record{c.Key, c.Value}) {
		switch {
		case r.Value != nil:
			d.records[string(r.Key)] = string(r.Value)
		case c.Remove || string(r.Key) != string(c.Key):
			delete(d.records, string(r.Key))
		}
	}
	return nil
}

func (d *disk) Delete(key []byte, _ uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, string(key))
	return nil
}

func (d *disk) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	d.mu.Lock()
	records := maps.Clone(d.records)
	d.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(records)) {
		if k >= string(lower) && k < string(upper) && !fn([]byte(k), []byte(records[k])) {
			break
		}
	}
	return nil
}

// change is a task that appends a number to a key's value, or deletes the key.
type change struct {
	key  Key
	kept bool
	at   hlc.Timestamp
	text string // "" deletes
	done func(err error)
}

func (c *change) Key() Key { return c.key }

func (c *change) Keep() {
	if !c.kept {
		c.kept = true
		c.key.Name = slices.Clone(c.key.Name)
	}
}

func (c *change) Apply(s *Scratch) ([]byte, error) {
	v := s.Object.Value(0, nil)
	next := version.Sibling{Kind: version.Tombstone}
	if c.text != "" {
		next = version.Sibling{Kind: version.String, Value: slices.Concat(v.Data, []byte(c.text))}
	}
	at := max(c.at, s.Object.Context.Newest()+1)
	if _, err := s.Object.Update(version.Dot{Node: 1, Time: at}, nil, next); err != nil {
		return nil, err
	}
	return s.Object.Append(nil), nil
}

func (c *change) Done(err error) { c.done(err) }

// named is a key; the token comes with it, so that two can share a stripe.
func named(name string, token ring.Token) Key { return Key{Token: token, Name: []byte(name)} }

// apply does a change and waits for its end.
func apply(t *testing.T, r *Replica, k Key, at hlc.Timestamp, text string) error {
	t.Helper()
	ended := make(chan error, 1)
	r.Do(&change{key: k, at: at, text: text, done: func(err error) { ended <- err }})
	return <-ended
}

// look is a reader that waits.
type look struct {
	key    Key
	loaded chan string
}

func (l *look) Key() Key { return l.key }
func (l *look) Keep()    {}

// Late reports that somebody waits.
func (l *look) Late() bool { return false }

// Loaded implements Reader.
func (l *look) Loaded(s *Scratch, err error) {
	if err != nil {
		l.loaded <- err.Error()
		return
	}
	l.loaded <- string(s.Object.Value(0, nil).Data)
}

func value(r *Replica, k Key) string {
	l := &look{k, make(chan string, 1)}
	r.Read(l)
	return <-l.loaded
}

func TestTasksOnOneKeyKeepTheirOrder(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 4})
	defer r.Close()
	a, b := named("a", 5), named("b", 5+stripes) // one stripe
	for _, k := range []Key{a, b} {
		if err := apply(t, r, k, 1, "0"); err != nil {
			t.Fatal(err)
		}
	}
	release := d.chill()
	d.mu.Lock()
	for k := range d.cold {
		if strings.Contains(k, "b") {
			delete(d.cold, k)
		}
	}
	d.mu.Unlock()
	var wg sync.WaitGroup
	for i := range 50 {
		if i == 25 { // the block comes into the cache by another way: still nobody overtakes
			d.mu.Lock()
			clear(d.cold)
			d.mu.Unlock()
		}
		wg.Add(1)
		name := []byte("a")
		r.Do(&change{key: Key{Token: 5, Name: name}, text: "," + strconv.Itoa(i), done: func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		}})
		name[0] = '!' // borrowed only until Do returns
	}
	if err := apply(t, r, b, 2, "1"); err != nil {
		t.Fatal(err) // it does not wait for the other key of its stripe
	}
	release()
	wg.Wait()
	want := "0"
	for i := range 50 {
		want += "," + strconv.Itoa(i)
	}
	if got := value(r, a); got != want {
		t.Errorf("a is %q", got)
	}
	if got := value(r, b); got != "01" {
		t.Errorf("b is %q", got)
	}
}

// tokenOf puts all keys on one stripe.
func tokenOf(name string) ring.Token { return ring.Token(7 + (int(name[1])*100+int(name[3]))*stripes) }

// TestTasksAgainstAModel lets several goroutines, each the writer of some keys,
// work while records go cold.
func TestTasksAgainstAModel(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 3})
	const writers, each = 4, 300
	model := make([]map[string]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		model[w] = map[string]string{}
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			var tasks sync.WaitGroup
			for i := range each {
				name := fmt.Sprintf("w%d-%d", w, random.IntN(5))
				text := fmt.Sprint(i, ";")
				if random.IntN(10) == 0 {
					text = ""
				}
				if random.IntN(20) == 0 {
					d.chill()()
				}
				tasks.Add(1)
				r.Do(&change{key: named(name, tokenOf(name)), text: text, done: func(err error) {
					if err != nil {
						t.Error(err)
					}
					tasks.Done()
				}})
				if model[w][name] += text; text == "" {
					delete(model[w], name)
				}
			}
			tasks.Wait()
		})
	}
	wg.Wait()
	live := int64(0)
	for _, m := range model {
		for name, want := range m {
			if got := value(r, named(name, tokenOf(name))); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		live += int64(len(m))
	}
	if n, err := r.Count(t.Context(), 0, 0, ring.Slots-1); n != live || err != nil {
		t.Errorf("%d keys are counted (%v), there are %d", n, err, live)
	}
	r.Close()
}

func TestAClosedReplicaRefusesWhatHasToWait(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	k := named("a", 1)
	if err := apply(t, r, k, 1, "0"); err != nil {
		t.Fatal(err)
	}
	r.Close()
	d.chill()()
	if err := apply(t, r, k, 2, "1"); !errors.Is(err, ErrBusy) {
		t.Errorf("a task: %v", err)
	}
	if got := value(r, k); got != ErrBusy.Error() {
		t.Errorf("a read: %q", got)
	}
}

func TestAFlushIsForGood(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	a, b, c := named("a", 1), named("b", 2), named("c", 3)
	for i, k := range []Key{a, b, c} {
		if err := apply(t, r, k, hlc.Timestamp(10*(i+1)), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if !r.Flush(0, 20) || r.Flush(0, 20) || r.Flush(0, 10) {
		t.Error("only the first flush is news")
	}
	if value(r, a) != "" || value(r, b) != "" || value(r, c) != "x" {
		t.Errorf("after a flush up to 20: %q %q %q", value(r, a), value(r, b), value(r, c))
	}
	// Another node that missed the flush sends what it holds.
	var o version.Object
	for _, at := range []hlc.Timestamp{15, 25} {
		if _, err := o.Update(version.Dot{Node: 2, Time: at}, &version.Context{}, version.Sibling{Kind: version.String}); err != nil {
			t.Fatal(err)
		}
	}
	if !r.Forget(0, &o) || len(o.Siblings) != 1 || o.Siblings[0].Time != 25 {
		t.Errorf("of siblings at 15 and 25 remain %v", o.Siblings)
	}
	if r.Forget(1, &o) {
		t.Error("another database was not flushed")
	}
	if removed, err := r.Purge(func() bool { return false }); removed != 2 || err != nil || len(d.records) != 1 {
		t.Errorf("purged %d records (%v), %d are left", removed, err, len(d.records))
	}
	// The key lives again, with nothing of what was.
	if err := apply(t, r, a, 30, "y"); err != nil || value(r, a) != "y" {
		t.Errorf("a is %q (%v)", value(r, a), err)
	}
}

func TestCountsBeginWithWhatIsStored(t *testing.T) {
	d := newDisk()
	before := New(d, Options{Workers: 1})
	for i := range 10 {
		k := named(strconv.Itoa(i), ring.Token(i)<<48)
		if err := errors.Join(apply(t, before, k, 1, "x")); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := apply(t, before, k, 2, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	before.Close()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	record := r.StartCount()
	snapshot := maps.Clone(d.records)
	if err := apply(t, r, named("new", 3<<48), 3, "x"); err != nil {
		t.Fatal(err)
	}
	if err := apply(t, r, named("4", 4<<48), 3, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Count(ctx, 0, 0, ring.Slots-1); err == nil {
		t.Error("an incomplete count was told")
	}
	for k, v := range snapshot {
		record([]byte(k), []byte(v))
	}
	record(nil, nil)
	for _, c := range []struct {
		first, last ring.Slot
		want        int64
	}{{0, ring.Slots - 1, 8}, {3, 3, 2}, {4, 4, 0}, {0, 0, 0}, {6, 7, 2}} {
		if n, err := r.Count(t.Context(), 0, c.first, c.last); n != c.want || err != nil {
			t.Errorf("slots %d to %d: %d keys (%v), want %d", c.first, c.last, n, err, c.want)
		}
	}
}

func TestAFrozenReplicaTakesNoWrites(t *testing.T) {
	r := New(newDisk(), Options{Workers: 1})
	defer r.Close()
	if !r.Freeze() {
		t.Fatal("an empty replica cannot be frozen")
	}
	k := named("a", 1)
	if err := apply(t, r, k, 1, "x"); !errors.Is(err, ErrFrozen) || value(r, k) != "" || r.HoldsData() {
		t.Errorf("a write: %v", err)
	}
	r.Thaw()
	if err := apply(t, r, k, 1, "x"); err != nil || !r.HoldsData() {
		t.Errorf("a write after the thaw: %v", err)
	}
	if r.Freeze() {
		t.Error("a replica with data was frozen")
	}
	if err := apply(t, r, k, 1, "y"); err != nil {
		t.Errorf("a write after a refused freeze: %v", err)
	}
}
