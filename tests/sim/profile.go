package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
	return append([]KeySpec{
		{Name: "q1", Commands: register3, R: majority, W: majority, Check: Linear},
		{Name: "q2", Commands: []string{"set", "get"}, R: majority, W: majority, Check: Linear},
		{Name: "q3", Commands: []string{"set", "set", "set", "get"}, R: majority, W: majority, Check: Linear},
		{Name: "all", Commands: []string{"set", "get", "get"}, R: single, W: every, Check: Fresh},
		{Name: "weak", Commands: []string{"set", "set", "get"}, R: single, W: single},
		{Name: "n1", Commands: []string{"incr", "incr", "get"}, R: majority, W: majority, Check: Counted},
		{Name: "n2", Commands: []string{"incr"}, R: majority, W: single, Check: Counted},
		{Name: "v1", Commands: []string{"vget", "vget", "vset", "vset", "vdel"}, R: majority, W: majority},
		{Name: "x1", Commands: []string{"setpx", "get", "setpx", "get", "del"}, R: majority, W: majority},
	}, sloppy()...)
}

// sloppy are keys whose clients let others stand in for replicas.
func sloppy() []KeySpec {
	return append([]KeySpec{
		{Name: "s1", Commands: register3, R: majority, W: majority, Mode: Sloppily},
		{Name: "s2", Commands: []string{"incr", "incr", "get"}, R: majority, W: majority, Check: Counted, Mode: Sloppily},
		{Name: "s3", Commands: []string{"vget", "vget", "vset", "vset", "vdel"}, R: majority, W: majority, Mode: Sloppily},
		{Name: "s4", Commands: []string{"setpx", "get", "set", "del"}, R: majority, W: majority, Mode: Mixed},
	}, elements("e", 8, Mixed)...)
}

// elements are the elements of a set: keys that are added and removed.
func elements(name string, n int, mode Modes) (keys []KeySpec) {
	for i := range n {
		keys = append(keys, KeySpec{Name: fmt.Sprintf("%s%d", name, i), Commands: []string{"set", "del", "get"}, R: majority, W: majority, Mode: mode})
	}
	return keys
}

// calm are the keys of runs in which every operation is atomic.
func calm() []KeySpec {
	return []KeySpec{
		{Name: "r1", Commands: []string{"set", "get", "del", "setnx", "getset", "append"}, R: majority, W: majority, Check: Atomic},
		{Name: "r2", Commands: []string{"incr", "incr", "get"}, R: majority, W: majority, Check: Atomic},
		{Name: "r3", Commands: []string{"setnx", "del", "get"}, R: majority, W: majority, Check: Atomic},
		{Name: "r4", Commands: []string{"append", "append", "get"}, R: majority, W: majority, Check: Atomic},
		{Name: "q1", Commands: register3, R: majority, W: majority, Check: Linear},
	}
}

// lossy makes keys fit for runs in which a machine loses what it has written. A
// copy that is lost is a copy that quorums may not meet: what two machines have
// acknowledged remains, but may be out of sight until it is repaired.
func lossy(c *Config) {
	thin(c)
	for i := range c.Keys {
		if k := &c.Keys[i]; k.Check == Linear || k.Check == Fresh || k.Check == FreshNearby {
			k.Check = Kept
		}
	}
}

// thin makes keys fit for runs in which a machine loses data and knows it: what
// only one machine has acknowledged may be lost.
func thin(c *Config) {
	for i := range c.Keys {
		if k := &c.Keys[i]; slices.Equal(k.W, single) {
			k.W = majority
		}
	}
}

// five spreads the replicas over some of five machines.
func five(c *Config, r *rand.Rand) {
	c.Machines, c.MaxDown, c.Racks = 5, 2, []int{0, 3}[r.IntN(2)]
}

// membership are changes of the ring, and what befalls those who take part in one.
var membership = []Fault{Join, Join, Join, Decommission, Decommission, Succeed, Weigh, Abort, MovePause, Operators, KillPlanner, KillMover, KillMover}

// apart spreads replicas over data centres.
func apart(c *Config, r *rand.Rand) {
	shape := [][2]int{{2, 2}, {2, 2}, {2, 3}, {3, 1}, {3, 1}}[r.IntN(5)]
	c.Centres, c.Each = shape[0], shape[1]
	c.N, c.Keys = c.Centres*c.Each, across()
	c.Machines, c.Ops = c.N+r.IntN(2), c.Ops/2 // each costs more than on three machines
	c.Skew = 0                                 // or what is newer in one would be so by the other's clock
}

// comeAndGo has members come and go.
func comeAndGo(c *Config, r *rand.Rand) {
	c.Machines, c.Members, c.MaxDown = 6+r.IntN(2), 3+r.IntN(2), 1
	c.Rare = []Fault{Remove, Remove, Remove, Remove, Join, Join, Join}
	c.FaultEvery *= 2
	thin(c)
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
			c.Faults = []Fault{Split, Split, OneWay, Isolate, Between, Cut, Pause}
		}},
		{"kills", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Kill, Kill, KillMidTurn, KillMidWrite, Restart}
		}},
		{"power, fsync always", func(c *Config, _ *rand.Rand) {
			c.Storage.Fsync = storage.SyncAlways
			c.Faults = []Fault{Power, Power, PowerMidWrite, PowerMidWrite, KillMidWrite}
			c.MaxDown = 3
		}},
		{"power, one at a time", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Power, PowerMidWrite}
			lossy(c)
		}},
		{"unreliable network", func(c *Config, _ *rand.Rand) {
			c.Trouble = Trouble{Drop: 0.03, Duplicate: 0.05, Reorder: 0.1, Late: 0.03}
			c.Faults = []Fault{Slow, Cut}
		}},
		{"everything, five machines", func(c *Config, r *rand.Rand) {
			five(c, r)
			c.Trouble = Trouble{Drop: 0.01, Duplicate: 0.02, Reorder: 0.05, Late: 0.01}
			c.Faults = []Fault{Split, OneWay, Isolate, Between, Cut, Slow, Pause, Kill, KillMidTurn, KillMidWrite, Restart, Full, Ahead, Behind}
			if r.IntN(2) == 0 {
				c.Storage.Fsync = storage.SyncAlways
				c.Faults = append(c.Faults, Power, PowerMidWrite)
			}
		}},
		{"storm", storm},
		{"everything", func(c *Config, r *rand.Rand) {
			c.Trouble = Trouble{Drop: 0.005, Late: 0.01}
			c.Faults = []Fault{Split, OneWay, Isolate, Between, Cut, Slow, Pause, Kill, KillMidTurn, KillMidWrite, Restart, Full}
		}},
		{"long absences, five machines", func(c *Config, r *rand.Rand) {
			five(c, r)
			c.Faults = []Fault{Isolate, Kill, Pause, Split}
			c.FaultEvery, c.FaultFor = 10*time.Second, 2*time.Minute
		}},
		{"full disks", func(c *Config, _ *rand.Rand) {
			c.Faults = []Fault{Full, Full, Kill, Restart, Cut}
			c.FaultFor *= 2
		}},
		{"wrong clocks", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Ahead, Behind, Kill, Restart, Isolate}
			c.FaultFor *= 4
		}},
		{"old disks", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Cut, Kill, Between}
			c.Rare = []Fault{Restore, Restore, Restore, Restore}
			lossy(c)
		}},
		{"rot", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Cut, Kill, Restart, Isolate}
			c.Rare = []Fault{Rot, Rot, Rot, Rot, Rot, Rot}
			thin(c)
		}},
		{"emptied disks", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Cut, Kill, Isolate}
			c.Rare = []Fault{Empty, Empty, Empty, Empty}
			thin(c)
		}},
		{"replaced disks", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Cut, Kill, Isolate}
			c.Rare = []Fault{Replace, Replace, Replace, ComeBack, ComeBack, ComeBack}
			lossy(c)
		}},
		{"rotten logs", func(c *Config, r *rand.Rand) {
			if r.IntN(2) == 0 {
				five(c, r)
			}
			c.Faults = []Fault{Cut, Kill, Restart, Isolate}
			c.Rare = []Fault{RotLog, RotLog, RotLog, RotManifest, RotManifest, Rot}
			lossy(c)
		}},
		{"members", func(c *Config, r *rand.Rand) {
			comeAndGo(c, r)
			c.Faults = slices.Concat(c.Faults, membership, membership)
			c.Faults = append(c.Faults, Isolate, Kill, Cut)
		}},
		{"members and everything", func(c *Config, r *rand.Rand) {
			comeAndGo(c, r)
			c.Trouble = Trouble{Drop: 0.005, Duplicate: 0.01, Late: 0.01}
			c.Faults = slices.Concat(c.Faults, membership, []Fault{Split, OneWay, Isolate, Between, Cut, Slow, Pause, Kill, KillMidTurn, KillMidWrite, Restart, Full, Ahead, Behind})
			if r.IntN(2) == 0 {
				c.Storage.Fsync = storage.SyncAlways
				c.Faults = append(c.Faults, Power, PowerMidWrite)
			}
		}},
		{"members and lost disks", func(c *Config, r *rand.Rand) {
			comeAndGo(c, r)
			c.Faults = slices.Concat(c.Faults, membership, []Fault{Cut, Kill, Isolate})
			c.Rare = append(c.Rare, Restore, Empty, Empty, Replace, Replace, ComeBack, Rot, RotLog, RotManifest)
			lossy(c)
		}},
		{"data centres", func(c *Config, r *rand.Rand) {
			apart(c, r)
			c.Faults = []Fault{Sever, Sever, Blackout, Blackout, Kill, Cut, OneWay, Isolate, Between, Pause}
		}},
		{"members of data centres", func(c *Config, r *rand.Rand) {
			comeAndGo(c, r)
			c.Keys, c.Centres, c.Each, c.N, c.Waits = across(), 2, 2, 4, true
			c.Machines, c.Members, c.Skew = 7, 4+r.IntN(2), 0
			thin(c)
			c.Ops /= 2
			c.Faults = slices.Concat(c.Faults, membership, []Fault{Commit, Commit, Commit, Commit, Commit, Sever, Sever, Blackout, Kill, Cut, Isolate})
		}},
		{"lost majority", func(c *Config, r *rand.Rand) {
			comeAndGo(c, r)
			c.Members = 4 + r.IntN(2)
			c.Faults = []Fault{Join, Weigh, Commit, Kill, Restart, Slow}
			c.Rare = []Fault{LoseMajority, LoseMajority, LoseMajority, Join, Join}
			c.Waits = r.IntN(2) == 0
		}},
	}
}

// storm works on two keys, and never has a quiet moment.
func storm(c *Config, r *rand.Rand) {
	exact := []coordinator.Level{coordinator.Quorum}
	c.Keys = []KeySpec{
		{Name: "q1", Commands: []string{"set", "get", "get"}, R: exact, W: exact, Check: Linear},
		{Name: "q2", Commands: []string{"set", "set", "get", "del"}, R: exact, W: exact, Check: Linear},
	}
	c.Think = 20 * time.Millisecond
	c.FaultEvery = time.Duration(50+r.IntN(300)) * time.Millisecond
	c.FaultFor = time.Duration(50+r.IntN(600)) * time.Millisecond
	c.Trouble = Trouble{Drop: 0.03 * r.Float64(), Duplicate: 0.02, Reorder: 0.2, Late: 0.02}
	c.Faults = []Fault{Split, OneWay, OneWay, Isolate, Cut, Cut, Cut, Slow, Kill, KillMidTurn, KillMidWrite, Pause}
	c.Skew = 200 * time.Millisecond
	if r.IntN(2) == 0 {
		// Who has missed something, and writes several times at once: what it sends
		// arrives in another order beside what it has missed, which may be newer.
		c.Keys = c.Keys[1:]
		c.Bursts, c.Trouble.Reorder, c.Skew = 2, 0.4, 240*time.Millisecond
		c.Faults = []Fault{Split, OneWay, Isolate, Cut, Kill, Kill, KillMidTurn, Pause}
	}
}

// FromSeed is the configuration of a seed.
func FromSeed(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 0))
	all := profiles()
	p := all[seed%uint64(len(all))]
	c := Config{
		Seed: seed, Profile: p.name, Machines: 3, N: 3, Partitions: 16, Keys: disturbed(),
		Clients: 3 + r.IntN(5), Ops: 400 + r.IntN(300), Think: time.Duration(20+r.IntN(150)) * time.Millisecond,
		FaultEvery: time.Duration(500+r.IntN(2500)) * time.Millisecond, FaultFor: time.Duration(200+r.IntN(3000)) * time.Millisecond,
		MaxDown: 1 + r.IntN(2), Skew: time.Duration(r.IntN(150)+1) * time.Millisecond,
		Period: time.Minute + time.Duration(r.IntN(120))*time.Second, Delay: 20*time.Second + time.Duration(r.IntN(100))*time.Second,
		Storage: storage.Options{
			// Small, so that a few hundred writes flush, compact and miss the cache.
			MemtableSize: int64(8<<10 + r.IntN(64<<10)), CacheSize: int64(64<<10 + r.IntN(2)*192<<10), TableSize: 8 << 10,
			LevelSize: 32 << 10, L0Trigger: 2, BlockSize: 512, CompactionWorkers: 1, Compression: []string{"s2", "none"}[r.IntN(2)],
		},
	}
	p.change(&c, r)
	c.Plan = drawPlan(&c, r)
	if r.IntN(8) > 0 {
		c.Stretch = 4 + r.IntN(20)
	}
	if c.Members > 0 && seed/uint64(len(all))%3 == 2 {
		growAndShrink(&c, rand.New(rand.NewPCG(seed, 3)))
	}
	return c
}
