package hlc

import (
	"fmt"
	"time"
)

// Timestamp is one reading of a hybrid logical clock: 48 bits of Unix
// milliseconds above 16 bits of logic. Comparing two of them as integers
// compares them in time. Zero is before every timestamp a clock issues and
// means none.
type Timestamp uint64

const (
	logicBits = 16

	// MaxTimestamp is the greatest timestamp, in the year 10889.
	MaxTimestamp = Timestamp(1<<64 - 1)

	maxMillis = 1<<48 - 1
)

// FromMillis returns the first timestamp of a Unix millisecond. Milliseconds
// that 48 bits cannot hold are moved to the nearest that they can.
func FromMillis(ms int64) Timestamp {
	return Timestamp(min(max(ms, 0), maxMillis)) << logicBits
}

// FromTime returns the first timestamp of t's millisecond.
func FromTime(t time.Time) Timestamp { return FromMillis(t.UnixMilli()) }

// Millis returns the Unix time in milliseconds.
func (t Timestamp) Millis() int64 { return int64(t >> logicBits) }

// Logic returns the place among the timestamps of one millisecond.
func (t Timestamp) Logic() uint16 { return uint16(t) }

// Time returns the physical part.
func (t Timestamp) Time() time.Time { return time.UnixMilli(t.Millis()) }

// String returns milliseconds and logic, as in 1700000000000.7.
func (t Timestamp) String() string { return fmt.Sprintf("%d.%d", t.Millis(), t.Logic()) }
