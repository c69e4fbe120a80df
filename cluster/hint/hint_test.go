package hint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// memory is an engine in a map.
type memory struct {
	mu      sync.Mutex
	records map[string]string // guarded by mu
	cold    bool              // guarded by mu: everything needs the disk
}

func newMemory() *memory { return &memory{records: make(map[string]string)} }

func (m *memory) TryGet(dst, key []byte) ([]byte, bool, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, found := m.records[string(key)]
	return append(dst, v...), found && !m.cold, !m.cold, nil
}

func (m *memory) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	type record struct{ key, value string }
	var in []record
	m.mu.Lock()
	for k, v := range m.records {
		if k >= string(lower) && k < string(upper) {
			in = append(in, record{k, v})
		}
	}
	m.mu.Unlock()
	slices.SortFunc(in, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	for _, r := range in {
		if !fn([]byte(r.key), []byte(r.value)) {
			break
		}
	}
	return nil
}

// store stores what Add and End made.
func (m *memory) store(beside []replica.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range beside {
		if r.Value == nil {
			delete(m.records, string(r.Key))
		} else {
			m.records[string(r.Key)] = string(r.Value)
		}
	}
}

func (m *memory) setCold(cold bool) {
	m.mu.Lock()
	m.cold = cold
	m.mu.Unlock()
}

func keyOf(name string) replica.Key {
	return replica.Key{Token: ring.TokenOf(0, []byte(name)), Name: []byte(name)}
}

func (m *memory) add(t *testing.T, s *Store, target ring.NodeID, name string, size int) bool {
	t.Helper()
	beside, ok := s.Add(nil, target, keyOf(name), size)
	m.store(beside)
	return ok
}

func TestLayout(t *testing.T) {
	k := AppendKey(nil, 0x0102, replica.Key{Token: 0x1234, DB: 2, Name: []byte("k")})
	if got := fmt.Sprintf("%x", k); got != "43"+"0000000000000102"+"0000000000001234"+"02"+"6b" {
		t.Errorf("the key of the package comment is %s", got)
	}
	v := appendValue(nil, time.UnixMilli(0x0a0b), 300)
	if got := fmt.Sprintf("%x", v); got != "0000000000000a0b"+"ac02" {
		t.Errorf("its record is %s", got)
	}
}

// FuzzParse reads arbitrary records; what can be read is what would be written.
func FuzzParse(f *testing.F) {
	f.Add(AppendKey(nil, 1, keyOf("k")), appendValue(nil, time.UnixMilli(5), 7))
	f.Add([]byte{Space}, []byte{})
	f.Fuzz(func(t *testing.T, k, value []byte) {
		h, err := Parse(k, value)
		if err != nil {
			return
		}
		if again := AppendKey(nil, h.Target, h.Key); !bytes.Equal(again, k) {
			t.Errorf("%x became %x", k, again)
		}
		if again, err := Parse(k, appendValue(nil, h.Made, h.Size)); err != nil || again.Size != h.Size || !again.Made.Equal(h.Made) {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}

// FuzzBatch reads arbitrary batches and answers.
func FuzzBatch(f *testing.F) {
	f.Add(AppendItem(AppendItem(nil, &Item{keyOf("a"), []byte("one")}), &Item{keyOf(""), nil}))
	f.Add([]byte{1, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if items, err := DecodeBatch(b); err == nil {
			var again []byte
			for i := range items {
				again = AppendItem(again, &items[i])
			}
			twice, err := DecodeBatch(again)
			if err != nil || len(twice) != len(items) {
				t.Errorf("%x became %x: %v", b, again, err)
			}
		}
		if a, err := DecodeAnswer(b, len(b)-3); err == nil {
			if again, err := DecodeAnswer(a.Append(nil), len(a.Held)); err != nil || !slices.Equal(again.Held, a.Held) || again.Grant != a.Grant {
				t.Errorf("%+v became %+v, %v", a, again, err)
			}
		}
	})
}

func stat(s *Store, id ring.NodeID) Stat {
	for _, st := range s.Stats() {
		if st.Target == id {
			return st
		}
	}
	return Stat{}
}

func TestHintsOfAKeyAreOne(t *testing.T) {
	m := newMemory()
	s := New(m, Options{})
	for range 3 {
		for _, name := range []string{"a", "bb"} {
			m.add(t, s, 7, name, 100)
		}
	}
	m.add(t, s, 8, "a", 5)
	if st := stat(s, 7); st.Count != 2 || st.Bytes != 203 {
		t.Errorf("counted %+v", st)
	}
	if found, err := s.Outstanding(keyOf("a").Token, keyOf("a").Token+1); !found || err != nil {
		t.Error("a hint is outstanding")
	}
	page, _, err := s.Page(7, nil, 10)
	if err != nil || len(page) != 2 {
		t.Fatal(page, err)
	}
	for i := range page {
		m.store(s.End(nil, &page[i], true))
	}
	if st := stat(s, 7); st.Count != 0 || st.Bytes != 0 || st.Sent != 2 {
		t.Errorf("counted %+v", st)
	}
	if got := s.Targets(); !slices.Equal(got, []ring.NodeID{8}) {
		t.Errorf("hints for %v", got)
	}
	// Started again, the same is counted of what is stored.
	again := New(m, Options{})
	_ = m.Scan([]byte{Space}, []byte{Space + 1}, func(k, value []byte) bool { return again.Count(k, value) == nil })
	if a, b := stat(s, 8), stat(again, 8); a.Count != b.Count || a.Bytes != b.Bytes {
		t.Errorf("counted %+v, then %+v", a, b)
	}
}

func TestBounds(t *testing.T) {
	now := time.Unix(1000, 0)
	var dropped []ring.Token
	m := newMemory()
	s := New(m, Options{MaxBytes: 210, MaxAge: time.Hour, Now: func() time.Time { return now }, Dropped: func(_ ring.NodeID, t ring.Token) { dropped = append(dropped, t) }})
	for i, want := range []bool{true, true, false, false} {
		if got := m.add(t, s, 7, fmt.Sprint("k", i), 100); got != want {
			t.Errorf("hint %d is kept: %v", i, got)
		}
	}
	if !m.add(t, s, 8, "k9", 100) {
		t.Error("the bound is each target's own")
	}
	if st := stat(s, 7); st.Count != 2 || st.Dropped != 2 || len(dropped) != 2 || dropped[0] != keyOf("k2").Token {
		t.Errorf("counted %+v, told of %v", st, dropped)
	}
	page, _, _ := s.Page(7, nil, 1)
	if now = now.Add(time.Hour); s.Expired(&page[0]) {
		t.Error("too early")
	}
	if now = now.Add(time.Second); !s.Expired(&page[0]) {
		t.Error("too old")
	}
}

// Where memory does not know whether a hint is there, it is counted again.
func TestDoubtsAreCountedAgain(t *testing.T) {
	m := newMemory()
	s := New(m, Options{})
	m.add(t, s, 7, "a", 10)
	m.setCold(true)
	m.add(t, s, 7, "a", 10)
	m.add(t, s, 7, "b", 10)
	m.setCold(false)
	if got := s.Doubtful(); !slices.Equal(got, []ring.NodeID{7}) {
		t.Fatalf("doubtful is %v", got)
	}
	s.BeginCount(7)
	count, size := int64(0), int64(0)
	_ = m.Scan([]byte{Space}, []byte{Space + 1}, func(k, value []byte) bool {
		h, err := Parse(k, value)
		count, size = count+1, size+h.Size
		return err == nil
	})
	m.add(t, s, 7, "c", 10) // while the snapshot is counted
	s.EndCount(7, count, size, nil)
	if st := stat(s, 7); st.Count != 3 || st.Bytes != 33 || len(s.Doubtful()) != 0 {
		t.Errorf("counted %+v", st)
	}
}

// host is a node whose targets take what the test lets them.
type host struct {
	m  *memory
	s  *Store
	mu sync.Mutex

	objects map[string]string // guarded by mu
	got     map[string]string // guarded by mu: what targets hold
	order   []ring.Token      // guarded by mu
	damaged map[string]bool
	refuse  func(name string) bool
	fail    func() error
	holder  func(h *Hint) (ring.NodeID, bool, bool)
	flying  int // guarded by mu
	most    int // guarded by mu
}

func (h *host) Read(of *Hint) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.damaged[string(of.Key.Name)] {
		return nil, ErrLost
	}
	return []byte(h.objects[string(of.Key.Name)]), nil
}

func (h *host) Holder(of *Hint) (ring.NodeID, bool, bool) {
	if h.holder != nil {
		return h.holder(of)
	}
	return of.Target, false, true
}

func (h *host) Send(_ context.Context, _ ring.NodeID, batch []byte) ([]byte, error) {
	if h.fail != nil {
		if err := h.fail(); err != nil {
			return nil, err
		}
	}
	items, err := DecodeBatch(batch)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flying++
	h.most = max(h.most, h.flying)
	a := Answer{Grant: new(Granter).Grant(time.Now(), Load{}, 1)}
	for _, it := range items {
		held := h.refuse == nil || !h.refuse(string(it.Key.Name))
		a.Held = append(a.Held, held)
		if held {
			h.got[string(it.Key.Name)] = string(it.Object)
			h.order = append(h.order, it.Key.Token)
		}
	}
	h.flying--
	return a.Append(nil), nil
}

func (h *host) End(done []Done) (ended int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range done {
		if d := &done[i]; d.Lost || h.objects[string(d.Key.Name)] == string(d.Object) {
			h.m.store(h.s.End(nil, &d.Hint, !d.Gone))
			ended++
		}
	}
	return ended, nil
}

func newHost(t *testing.T, keys int) *host {
	m := newMemory()
	h := &host{m: m, s: New(m, Options{}), objects: map[string]string{}, got: map[string]string{}}
	for i := range keys {
		name := fmt.Sprint("key", i)
		h.objects[name] = fmt.Sprint("value", i)
		m.add(t, h.s, 7, name, 10)
	}
	return h
}

func TestEverythingIsReplayed(t *testing.T) {
	h := newHost(t, 2000)
	ended, err := NewReplayer(h.s, h, 7).Pass(t.Context())
	if err != nil || ended != 2000 || len(h.got) != 2000 || stat(h.s, 7).Count != 0 {
		t.Fatalf("%d ended, %d arrived, %+v left: %v", ended, len(h.got), stat(h.s, 7), err)
	}
	for name, value := range h.objects {
		if h.got[name] != value {
			t.Errorf("%s arrived as %q", name, h.got[name])
		}
	}
}

// What is refused stays, and arrives with a later pass.
func TestWhatIsRefusedStays(t *testing.T) {
	h := newHost(t, 300)
	h.refuse = func(name string) bool { return name == "key5" || name == "key77" }
	ended, _ := NewReplayer(h.s, h, 7).Pass(t.Context())
	if ended != 298 || stat(h.s, 7).Count != 2 {
		t.Fatalf("%d ended, %+v", ended, stat(h.s, 7))
	}
	h.refuse = nil
	if ended, err := NewReplayer(h.s, h, 7).Pass(t.Context()); ended != 2 || err != nil || len(h.got) != 300 {
		t.Errorf("%d ended, %v", ended, err)
	}
}

// The hint of a damaged copy ends, is counted as dropped and told of; the others arrive.
func TestAHintOfADamagedCopyEnds(t *testing.T) {
	h := newHost(t, 300)
	dropped := 0
	h.s.o.Dropped = func(ring.NodeID, ring.Token) { dropped++ }
	h.damaged = map[string]bool{"key0": true, "key77": true, "key299": true}
	ended, err := NewReplayer(h.s, h, 7).Pass(t.Context())
	if st := stat(h.s, 7); ended != 300 || err != nil || len(h.got) != 297 || st.Count != 0 || st.Dropped != 3 || dropped != 3 {
		t.Fatalf("%d ended, %d arrived, %d told of, %+v: %v", ended, len(h.got), dropped, st, err)
	}
}

// A target that takes nothing ends the pass, and nothing is lost.
func TestAFailingTargetEndsThePass(t *testing.T) {
	h := newHost(t, 3000)
	broken := errors.New("broken")
	h.fail = func() error { return broken }
	began := time.Now()
	ended, err := NewReplayer(h.s, h, 7).Pass(t.Context())
	if ended != 0 || !errors.Is(err, broken) || stat(h.s, 7).Count != 3000 || time.Since(began) > 20*time.Second {
		t.Fatalf("%d ended, %v, %+v after %v", ended, err, stat(h.s, 7), time.Since(began))
	}
	fails := 2
	h.fail = func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if fails--; fails >= 0 {
			return broken
		}
		return nil
	}
	r := NewReplayer(h.s, h, 7)
	for range 2 {
		_, _ = r.Pass(t.Context())
	}
	if len(h.got) != 3000 || stat(h.s, 7).Count != 0 {
		t.Errorf("%d arrived, %+v", len(h.got), stat(h.s, 7))
	}
}

// A hint whose object was written while it was replayed stays.
func TestAHintOfAWrittenKeyStays(t *testing.T) {
	h := newHost(t, 10)
	h.refuse = func(name string) bool {
		if name == "key3" {
			h.objects[name] = "newer" // host's lock is held
		}
		return false
	}
	ended, err := NewReplayer(h.s, h, 7).Pass(t.Context())
	if ended != 9 || err != nil || stat(h.s, 7).Count != 1 {
		t.Fatalf("%d ended, %v, %+v", ended, err, stat(h.s, 7))
	}
	h.refuse = nil
	if ended, _ = NewReplayer(h.s, h, 7).Pass(t.Context()); ended != 1 || h.got["key3"] != "newer" {
		t.Errorf("%d ended, it got %q", ended, h.got["key3"])
	}
}

// Hints for who is no replica any more end, and what they stood for is told of.
func TestHintsForNobodyEnd(t *testing.T) {
	h := newHost(t, 300)
	h.holder = func(of *Hint) (ring.NodeID, bool, bool) {
		if of.Key.Token%2 == 0 {
			return 0, true, true // this node is a replica itself
		}
		return 9, true, true
	}
	ended, err := NewReplayer(h.s, h, 7).Pass(t.Context())
	if st := stat(h.s, 7); ended != 300 || err != nil || st.Count != 0 || st.Dropped != 300 {
		t.Fatalf("%d ended, %v, %+v", ended, err, st)
	}
	for name := range h.objects {
		if _, arrived := h.got[name]; arrived == (keyOf(name).Token%2 == 0) {
			t.Errorf("%s arrived: %v", name, arrived)
		}
	}
}

func TestPacer(t *testing.T) {
	p := NewPacer()
	for range 10 {
		p.Succeeded(Grant{Window: maxWindow})
	}
	if p.Window() != maxWindow || p.Pause() != 0 {
		t.Errorf("idle: %d, %v", p.Window(), p.Pause())
	}
	p.Failed()
	if p.Window() != maxWindow/2 || p.Pause() < minBackoff {
		t.Errorf("after a failure: %d, %v", p.Window(), p.Pause())
	}
	for range 30 {
		p.Failed()
	}
	if p.Window() != 1 || p.Pause() != maxBackoff {
		t.Errorf("after many: %d, %v", p.Window(), p.Pause())
	}
}

// However many nodes replay, a target with clients takes what its rate says.
func TestAGranterKeepsItsRate(t *testing.T) {
	for _, c := range []struct {
		load Load
		rate int // keys a second, 0 for no bound
	}{
		{Load{}, 0}, {Load{Requests: 10}, 0}, {Load{Requests: 5000}, busyRate},
		{Load{Requests: 5000, Late: 5 * time.Millisecond}, lateRate}, {Load{Late: 100 * time.Millisecond}, starvedRate},
	} {
		var g Granter
		now := time.Unix(1000, 0)
		taken, free := 0, [4]time.Time{}
		for end := now.Add(10 * time.Second); now.Before(end); now = now.Add(time.Millisecond) {
			for i := range free {
				if !now.Before(free[i]) {
					taken += maxItems
					free[i] = now.Add(g.Grant(now, c.load, maxItems).Pause)
				}
			}
		}
		switch got := taken / 10; {
		case c.rate == 0 && got < 400_000:
			t.Errorf("%+v: %d keys a second, though nobody suffers", c.load, got)
		case c.rate != 0 && (got > c.rate*3/2 || got < c.rate/4):
			t.Errorf("%+v: %d keys a second, want %d", c.load, got, c.rate)
		}
	}
}
