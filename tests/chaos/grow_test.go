package chaos

import (
	"math/rand/v2"
	"testing"
)

// A round kills each part at each stage once, in the order of the stages.
func TestStrikes(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		all := map[strike]int{}
		for _, blows := range strikes(random, 6, 2) {
			for i, s := range blows {
				if all[s]++; i > 0 && blows[i-1].stage > s.stage {
					t.Errorf("seed %d: %v after %v", seed, s, blows[i-1])
				}
			}
		}
		if len(all) != int(stages)*int(parts) {
			t.Errorf("seed %d: %d kinds of kills, want each of %d", seed, len(all), int(stages)*int(parts))
		}
		for _, blows := range strikes(random, 2, 1) {
			if len(blows) != 1 {
				t.Errorf("seed %d: %v, want one", seed, blows)
			}
		}
	}
}
