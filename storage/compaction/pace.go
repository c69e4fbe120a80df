package compaction

import "time"

// Pace says how a compaction leaves the processor to those who write and read meanwhile. The replicas of a partition get the
// same writes, so where several share a machine they compact at the same time; each taking all it can get, their clients
// wait for seconds on end. Nothing is in a hurry as long as level 0 is far from where flushes must wait.
type Pace struct {
	// Trigger is how many tables of level 0 are worth merging, Stop how many make flushes wait.
	Trigger, Stop int
}

const (
	// busyRate is how many writes a second are worth resting for.
	busyRate = 2000
	// maxRest bounds one rest: work that took long because the whole machine stood still is no reason for a long one.
	maxRest = 20 * time.Millisecond
	// restRatio is how long a compaction rests for the time it worked while level 0 is as small as can be: its share of
	// one processor is a quarter then.
	restRatio = 3
)

// Rest returns how long a compaction that worked for some time is to rest, when in all the time since its last rest began
// there were so many writes, and level 0 has so many tables now. The rests become shorter as level 0 grows and end a quarter
// of the way to Stop: from there on a compaction has what it can get, and the larger part of the room to catch up in.
func (p Pace) Rest(worked, elapsed time.Duration, writes uint64, tables int) time.Duration {
	if float64(writes) < busyRate*elapsed.Seconds() {
		return 0
	}
	most := (3*p.Trigger + p.Stop) / 4
	if tables >= most {
		return 0
	}
	room := float64(most-tables) / float64(max(most-p.Trigger, 1))
	return min(time.Duration(restRatio*min(room, 1)*float64(worked)), maxRest)
}
