package sim

import (
	"math/rand/v2"
	"time"

	"kvstore/cluster/coordinator"
	"kvstore/storage"
)

// profile is one sort of run.
type profile struct {
	name   string
	change func(c *Config, r *rand.Rand)
}

var (
	majority  = []coordinator.Level{coordinator.Quorum, coordinator.Quorum, coordinator.Two, coordinator.All}
	every     = []coordinator.Level{coordinator.All}
	single    = []coordinator.Level{coordinator.One}
	register3 = []string{"set", "set", "get", "get", "get", "del"}
)

// disturbed are the keys of runs with faults.
func disturbed() []KeySpec {
	return []KeySpec{
		{"q1", register3, majority, majority, Linear},
		{"q2", []string{"set", "get"}, majority, majority, Linear},
		{"q3", []string{"set", "set", "set", "get"}, majority, majority, Linear},
		{"all", []string{"set", "get", "get"}, single, every, Fresh},
		{"weak", []string{"set", "set", "get"}, single, single, Kept},
		{"n1", []string{"incr", "incr", "get"}, majority, majority, Counted},
		{"n2", []string{"incr"}, majority, single, Counted},
	}
}

// calm are the keys of runs in which every operation is atomic.
func calm() []KeySpec {
	return []KeySpec{
		{"r1", []string{"set", "get", "del", "setnx", "getset", "append"}, majority, majority, Atomic},
		{"r2", []string{"incr", "incr", "get"}, majority, majority, Atomic},
		{"r3", []string{"setnx", "del", "get"}, majority, majority, Atomic},
		{"r4", []string{"append", "append", "get"}, majority, majority, Atomic},
		{"q1", register3, majority, majority, Linear},
	}
}

// profiles are drawn in turn by the seed.
func profiles() []profile {
	return []profile{
		{"calm", func(c *Config, r *rand.Rand) {
			c.Keys = calm()
			c.Trouble = Trouble{Duplicate: 0.02, Reorder: 0.1}
			c.Machines = 1 + r.IntN(5)
		}},
		{"partitions", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Split, Split, OneWay, Isolate, Cut}
		}},
		{"kills", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Kill, Kill, KillMidTurn, Restart}
		}},
		{"power, fsync always", func(c *Config, _ *rand.Rand) {
			c.Storage.Fsync = storage.SyncAlways
			c.Faults = []Fault{Power, Power, Kill}
			c.MaxDown = 3
		}},
		{"power, one at a time", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Power}
			// A copy that is lost is a copy that quorums may not meet: what is
			// acknowledged remains, but may be out of sight until repaired.
			for i := range c.Keys {
				if c.Keys[i].Check == Linear || c.Keys[i].Check == Fresh {
					c.Keys[i].Check = Kept
				}
			}
			c.Keys[4].W, c.Keys[6].W = majority, majority
		}},
		{"unreliable network", func(c *Config, _ *rand.Rand) {
			c.Trouble = Trouble{Drop: 0.03, Duplicate: 0.05, Reorder: 0.1, Late: 0.03}
			c.Faults = []Fault{Slow, Cut}
		}},
		{"everything, five machines", func(c *Config, r *rand.Rand) {
			c.Machines = 5
			c.MaxDown = 2
			c.Trouble = Trouble{Drop: 0.01, Duplicate: 0.02, Reorder: 0.05, Late: 0.01}
			c.Faults = []Fault{Split, OneWay, Isolate, Cut, Slow, Kill, KillMidTurn, Restart}
			if r.IntN(2) == 0 {
				c.Storage.Fsync = storage.SyncAlways
				c.Faults = append(c.Faults, Power)
			}
		}},
		{"storm", func(c *Config, r *rand.Rand) {
			// Two keys, and never a quiet moment.
			exact := []coordinator.Level{coordinator.Quorum}
			c.Keys = []KeySpec{
				{"q1", []string{"set", "get", "get"}, exact, exact, Linear},
				{"q2", []string{"set", "set", "get", "del"}, exact, exact, Linear},
			}
			c.Think = 20 * time.Millisecond
			c.FaultEvery = time.Duration(50+r.IntN(300)) * time.Millisecond
			c.FaultFor = time.Duration(50+r.IntN(600)) * time.Millisecond
			c.Trouble = Trouble{Drop: 0.03 * r.Float64(), Duplicate: 0.02, Reorder: 0.2, Late: 0.02}
			c.Faults = []Fault{Split, OneWay, OneWay, Isolate, Cut, Cut, Cut, Slow, Kill, KillMidTurn}
			c.Skew = 200 * time.Millisecond
		}},
		{"everything", func(c *Config, r *rand.Rand) {
			c.Trouble = Trouble{Drop: 0.005, Late: 0.01}
			c.Faults = []Fault{Split, OneWay, Isolate, Cut, Slow, Kill, KillMidTurn, Restart}
		}},
	}
}

// FromSeed is the configuration of a seed.
func FromSeed(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 0))
	all := profiles()
	p := all[seed%uint64(len(all))]
	c := Config{
		Seed: seed, Profile: p.name, Machines: 3, N: 3, Partitions: 16, Keys: disturbed(),
		Clients: 3 + r.IntN(5), Ops: 300 + r.IntN(200), Think: time.Duration(20+r.IntN(150)) * time.Millisecond,
		FaultEvery: time.Duration(500+r.IntN(2500)) * time.Millisecond, FaultFor: time.Duration(200+r.IntN(3000)) * time.Millisecond,
		MaxDown: 1 + r.IntN(2), Skew: time.Duration(r.IntN(150)+1) * time.Millisecond,
		Storage: storage.Options{
			// Small, so that a few hundred writes flush, compact and miss the cache.
			MemtableSize: int64(8<<10 + r.IntN(64<<10)), CacheSize: int64(r.IntN(2) * 32 << 10), TableSize: 8 << 10,
			LevelSize: 32 << 10, L0Trigger: 2, BlockSize: 512, CompactionWorkers: 1, Compression: []string{"s2", "none"}[r.IntN(2)],
		},
	}
	p.change(&c, r)
	return c
}
