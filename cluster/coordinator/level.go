package coordinator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Level says how many replicas must answer: a named level or a count.
// The zero Level stands for the node's configured one.
type Level int16

// Named levels. A positive Level is a plain count of replicas.
const (
	LevelDefault Level = 0
	Quorum       Level = -1 // a majority of the replica set
	All          Level = -2 // the whole replica set
	LocalOne     Level = -3 // one replica in the coordinator's data centre
	LocalQuorum  Level = -4 // a majority of the replicas in the coordinator's data centre
	EachQuorum   Level = -5 // a majority in every data centre
	One          Level = 1
	Two          Level = 2
	Three        Level = 3
)

var levelNames = [...]struct {
	name  string
	level Level
}{
	{"one", One}, {"two", Two}, {"three", Three}, {"quorum", Quorum}, {"all", All},
	{"local_one", LocalOne}, {"local_quorum", LocalQuorum}, {"each_quorum", EachQuorum},
}

// MaxLevel bounds a level given as a number; no replica set is larger.
const MaxLevel = 64

// ParseLevel reads a level as clients and the configuration write it, in
// either case: a name or a count from 1 to MaxLevel.
func ParseLevel(s string) (Level, error) {
	for _, l := range levelNames {
		if strings.EqualFold(s, l.name) {
			return l.level, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxLevel {
		return 0, fmt.Errorf("level %q is not one of one, two, three, quorum, all, local_one, local_quorum, each_quorum or a number from 1 to %d", s, MaxLevel)
	}
	return Level(n), nil
}

// String writes a level as ParseLevel reads it; the default level is "-".
func (l Level) String() string {
	if l == LevelDefault {
		return "-"
	}
	for _, n := range levelNames {
		if n.level == l {
			return n.name
		}
	}
	return strconv.Itoa(int(l))
}

// Count is how many of n replicas the level needs, of which local are in the
// coordinator's data centre. EachQuorum is counted per data centre by the
// request itself; here it stands for a majority of all.
func (l Level) Count(n, local int) int {
	switch l {
	case Quorum, EachQuorum, LevelDefault:
		return n/2 + 1
	case All:
		return n
	case LocalOne:
		return 1
	case LocalQuorum:
		return local/2 + 1
	}
	return int(l)
}

// Mode says who may stand in for a replica that is away.
type Mode uint8

// Sloppy lets fallbacks count towards a quorum; Strict does not. ModeDefault
// stands for the node's configured mode.
const (
	ModeDefault Mode = iota
	Sloppy
	Strict
)

// ParseMode reads "sloppy" or "strict" in either case.
func ParseMode(s string) (Mode, error) {
	switch {
	case strings.EqualFold(s, "sloppy"):
		return Sloppy, nil
	case strings.EqualFold(s, "strict"):
		return Strict, nil
	}
	return 0, fmt.Errorf("mode %q is neither sloppy nor strict", s)
}

func (m Mode) String() string {
	switch m {
	case Sloppy:
		return "sloppy"
	case Strict:
		return "strict"
	}
	return "-"
}

// Levels are the consistency settings of one request or connection. A zero
// field means the node's configuration.
type Levels struct {
	R, W    Level
	Mode    Mode
	Timeout time.Duration
}

// Or fills the zero fields of l from d.
func (l Levels) Or(d Levels) Levels {
	if l.R == LevelDefault {
		l.R = d.R
	}
	if l.W == LevelDefault {
		l.W = d.W
	}
	if l.Mode == ModeDefault {
		l.Mode = d.Mode
	}
	if l.Timeout == 0 {
		l.Timeout = d.Timeout
	}
	return l
}
