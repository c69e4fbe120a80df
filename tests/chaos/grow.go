package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// stage is how far a change of the ring is.
type stage uint8

const (
	planned  stage = iota // transfers wait, or the change is just being made
	copying               // the entering nodes take what the others hold
	switched              // they are in the table, and the others get writes still
	cleaning              // who left drops what went
	stages
)

func (s stage) String() string { return [...]string{"planned", "copying", "switched", "cleaning"}[s] }

// part is what a node has to do with a change.
type part uint8

const (
	source  part = iota // partitions leave it
	target              // they come to it
	planner             // it made the change: it was told to, or took the new node in
	parts
)

func (p part) String() string { return [...]string{"source", "target", "planner"}[p] }

// strike is a kill -9 in the middle of a change.
type strike struct {
	stage stage
	part  part
}

func (s strike) String() string { return fmt.Sprintf("%v while %v", s.part, s.stage) }

// strikes divides the kills, of each part at each stage one, among the changes of a
// round, at most so many for each: those of a change are in the order of the stages.
func strikes(random *rand.Rand, changes, most int) [][]strike {
	order := make([][]strike, changes)
	for i, k := range random.Perm(int(stages) * int(parts)) {
		if at := i % changes; len(order[at]) < most {
			order[at] = append(order[at], strike{stage(k / int(parts)), part(k % int(parts))})
		}
	}
	for _, of := range order {
		slices.SortStableFunc(of, func(a, b strike) int { return cmp.Compare(a.stage, b.stage) })
	}
	return order
}
