package cli

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Two signals at once are one; a later one is impatience.
func TestImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, done := make(chan os.Signal), make(chan struct{})
		hurry := impatient(signals, done)
		signals <- os.Interrupt
		synctest.Wait()
		select {
		case <-hurry:
			t.Fatal("a signal that came with the first was taken for another")
		default:
		}
		time.Sleep(signalPause)
		signals <- os.Interrupt
		<-hurry
		close(done)
	})
}
