package sim

import (
	"testing"
	"time"
)

func TestALongRunSaysHowFarItIs(t *testing.T) {
	began := time.Unix(0, 0)
	p := progress{began: began, seeds: 1000}
	var said []string
	for i := range 1000 {
		seed := 5 + 2*uint64(i)
		if line := p.ran(seed, seed != 7 && seed != 2003, began.Add(time.Duration(i+1)*time.Second/4)); line != "" {
			said = append(said, line)
		}
	}
	said = append(said, p.end(began.Add(250*time.Second)))
	want := []string{
		"sim: 240 of 1000 seeds, up to 483; 1 failed; 4.0 a second, 3m10s left",
		"sim: 480 of 1000 seeds, up to 963; 1 failed; 4.0 a second, 2m10s left",
		"sim: 720 of 1000 seeds, up to 1443; 1 failed; 4.0 a second, 1m10s left",
		"sim: 960 of 1000 seeds, up to 1923; 1 failed; 4.0 a second, 10s left",
		"sim: 1000 seeds up to 2003 in 4m10s, 2 failed: 7 2003",
	}
	for i := range max(len(said), len(want)) {
		if i >= len(said) || i >= len(want) || said[i] != want[i] {
			t.Fatalf("line %d: said\n%q\nwant\n%q", i, said, want)
		}
	}
}
