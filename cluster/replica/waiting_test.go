package replica

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"kvstore/cluster/hlc"
)

// What waits for the disk is bounded, and comes to its end when the disk does.
func TestTooManyTasksWaitForTheDisk(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	const keys = 64 // all on one stripe
	name := func(i int) Key { return named(fmt.Sprint("k", i%keys), tokenOf(fmt.Sprintf("w%d-%d", i%keys/8, i%8))) }
	for i := range keys {
		if err := apply(t, r, name(i), 1, "0"); err != nil {
			t.Fatal(err)
		}
	}
	release := sync.OnceFunc(d.chill())
	defer release()
	var wg sync.WaitGroup
	wg.Add(maxWaiting)
	for i := range maxWaiting {
		r.Do(&change{key: name(i), at: hlc.Timestamp(i), text: "1", done: func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		}})
	}
	refused := false
	r.Do(&change{key: name(0), at: 1, text: "too much", done: func(err error) { refused = errors.Is(err, ErrBusy) }})
	if !refused {
		t.Fatal("one task more waits")
	}
	if got := value(r, name(1)); got != ErrBusy.Error() {
		t.Errorf("one reader more: %q", got)
	}
	release()
	wg.Wait()
	if got := value(r, name(1)); len(got) != 1+maxWaiting/keys {
		t.Errorf("%d tasks of %d ran on a key", len(got)-1, maxWaiting/keys)
	}
	if err := apply(t, r, name(0), 1, "!"); err != nil || r.waiting.Load() != 0 {
		t.Errorf("afterwards: %v, %d wait", err, r.waiting.Load())
	}
	for i := range r.stripes {
		if len(r.stripes[i].parked) != 0 {
			t.Error("an empty queue is kept")
		}
	}
}

// late is a reader whom nobody waits for.
type late struct{ look }

func (*late) Late() bool { return true }

func (l *late) Loaded(_ *Scratch, err error) { l.loaded <- fmt.Sprint(err) }

func TestALateReaderDoesNotReadTheDisk(t *testing.T) {
	d := newDisk()
	r := New(d, Options{Workers: 1})
	defer r.Close()
	k := named("k", 5)
	if err := apply(t, r, k, 1, "0"); err != nil {
		t.Fatal(err)
	}
	defer d.chill()() // a read of the disk would hang
	l := &late{look{k, make(chan string, 1)}}
	r.Read(l)
	if got := <-l.loaded; got != ErrLate.Error() {
		t.Errorf("got %q", got)
	}
}
