package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/cluster/hlc"
	"kvstore/cluster/ring"
)

// tired is a disk that has fallen behind while owed is not 0.
type tired struct {
	*disk
	owed   atomic.Int64
	rested atomic.Int64
}

func (d *tired) Owed() time.Duration { return time.Duration(d.owed.Load()) }

func (d *tired) Rested(took time.Duration) { d.rested.Add(int64(took)) }

// Writes rest away from their caller while the store has fallen behind, reads do
// not, and nothing is lost or overtaken.
func TestWritesRestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &tired{disk: newDisk()}
		r := New(d, Options{Workers: 1})
		defer r.Close()
		k := named("k", 5)
		if err := apply(t, r, k, 1, "0"); err != nil || r.Pressed() || r.Crowded() {
			t.Fatalf("at rest: %v, pressed %v, crowded %v", err, r.Pressed(), r.Crowded())
		}
		d.owed.Store(int64(20 * time.Millisecond))
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 9 {
			wg.Add(1)
			r.Do(&change{key: k, at: hlc.Timestamp(i), text: fmt.Sprint(i + 1), done: func(err error) {
				if err != nil {
					t.Error(err)
				}
				wg.Done()
			}})
		}
		if time.Since(began) != 0 {
			t.Error("the caller was kept waiting")
		}
		if got := value(r, k); got != "0" || !r.Pressed() || r.Crowded() {
			t.Errorf("meanwhile: %q, pressed %v, crowded %v", got, r.Pressed(), r.Crowded())
		}
		time.Sleep(restFor / 2)
		d.owed.Store(0)
		wg.Wait()
		synctest.Wait()
		if got := value(r, k); got != "0123456789" || r.Pressed() || r.waiting.Load() != 0 {
			t.Errorf("afterwards: %q, pressed %v, %d wait", got, r.Pressed(), r.waiting.Load())
		}
		if d.rested.Load() == 0 {
			t.Error("no rest is counted")
		}
	})
}

// When writes rest for too long new ones are to be refused, until none rests.
func TestLongRestsCloseTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &tired{disk: newDisk()}
		r := New(d, Options{Workers: 1})
		defer r.Close()
		d.owed.Store(int64(20 * time.Millisecond))
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Add(1)
			r.Do(&change{key: named(fmt.Sprint(i), ring.Token(i)), at: 1, text: "1", done: func(error) { wg.Done() }})
		}
		time.Sleep(restFor)
		d.owed.Store(int64(time.Millisecond)) // mostRest would end the rest otherwise
		for range 10 {
			time.Sleep(mostRest / 10)
		}
		synctest.Wait()
		if !r.Crowded() {
			t.Error("not crowded after a long rest")
		}
		if err := r.Mend([]Record{{}}, 0); !errors.Is(err, ErrBusy) {
			t.Errorf("a repair meanwhile: %v", err)
		}
		d.owed.Store(0)
		wg.Wait()
		synctest.Wait()
		if r.Crowded() || r.Pressed() {
			t.Error("crowded when nothing waits")
		}
	})
}

// sized is a change that holds bytes.
type sized struct {
	change
	size int
}

func (s *sized) Size() int { return s.size }

func TestWaitingTasksAreBoundedInBytes(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	k := named("k", 5)
	if err := apply(t, r, k, 1, "0"); err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(d.chill())
	defer release()
	var wg sync.WaitGroup
	do := func(size int) (refused bool) {
		wg.Add(1)
		r.Do(&sized{change{key: k, at: 1, text: "1", done: func(err error) {
			refused = refused || errors.Is(err, ErrBusy)
			wg.Done()
		}}, size})
		return refused
	}
	for _, c := range []struct {
		size    int
		refused bool
	}{{2 * maxWaitingBytes, false}, {1, true}, {0, false}} {
		if got := do(c.size); got != c.refused {
			t.Errorf("%d bytes: refused %v", c.size, got)
		}
	}
	if !r.Crowded() {
		t.Error("not crowded")
	}
	release()
	wg.Wait()
	if r.held.Load() != 0 || r.waiting.Load() != 0 || r.Crowded() {
		t.Errorf("afterwards %d bytes, %d tasks", r.held.Load(), r.waiting.Load())
	}
}
