package storage

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTokenIsHeldByOne has goroutines take the token in both ways and yield while they hold it.
func TestTokenIsHeldByOne(t *testing.T) {
	const goroutines, turns = 8, 2000
	k := newToken()
	held, sum := 0, 0 // the race detector looks at them too
	var group sync.WaitGroup
	for n := range goroutines {
		group.Go(func() {
			for i := range turns {
				if n%2 == 0 || !k.try() {
					k.take()
				}
				if held++; held != 1 {
					t.Errorf("%d hold the token", held)
				}
				if i%16 == n {
					runtime.Gosched()
				}
				sum++
				held--
				k.put()
			}
		})
	}
	group.Wait()
	if sum != goroutines*turns || !k.try() {
		t.Errorf("%d of %d turns, and the token is not free", sum, goroutines*turns)
	}
}

// TestTokenIsWaitedForDurably: a simulated disk sleeps while others wait, and time has to go on.
func TestTokenIsWaitedForDurably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newToken()
		began := time.Now()
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				k.take()
				time.Sleep(time.Second)
				k.put()
			})
		}
		group.Wait()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three turns of a second took %v", took)
		}
	})
}
