package membership

import (
	"fmt"
	"strings"
	"time"
)

// obstacle is what keeps seeds from letting this node in.
type obstacle uint8

const (
	// noObstacle: one of them has, or none was asked.
	noObstacle obstacle = iota
	// hungUp: whoever listens there closed the connection without a word. So does a node that reads another label.
	hungUp
	// otherKey: one side encrypts and the other does not, or with another key.
	otherKey
	// otherName: a member has this node's name.
	otherName
	// unreached: nobody listens there, or what does refuses in words.
	unreached
)

// obstacleOf finds out what an error of memberlist's Join means. It has nothing but its text: memberlist flattens what it
// wraps. With several seeds the obstacle is the one that can be mended here.
func obstacleOf(err error) obstacle {
	if err == nil {
		return noObstacle
	}
	text := err.Error()
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("set node.name"):
		return otherName
	case has("crypt", "No installed keys"):
		return otherKey
	case has("EOF", "connection reset", "broken pipe", "closed pipe"):
		return hungUp
	}
	return unreached
}

// explain says what keeps this node, of a name and a cluster's name, out, and how to mend it: what
// whoever listens at cluster.join did.
func explain(why obstacle, name, label string, err error) string {
	switch why {
	case hungUp:
		return fmt.Sprintf("hung up: most likely it is of a cluster of another name than cluster.name = %q; set cluster.name as it is there, or cluster.join to members of this cluster (cluster.secret must be the same, too)", label)
	case otherKey:
		return "encrypts in another way: cluster.secret must be the same on all nodes of a cluster"
	case otherName:
		return fmt.Sprintf("has a member of this node's name, node.name = %q, already: give this node another (%s)", name, oneLine(err))
	}
	return fmt.Sprintf("does not let this node in: %s; start a member there, or correct cluster.join", oneLine(err))
}

// out is why this node is not let in.
type out struct {
	kind  obstacle
	text  string // what who listens at cluster.join did, as explain has it
	seeds string
	since time.Time // when an obstacle other than unreached was met first, and no seed let the node in since; zero before
}

// next returns what follows o when seeds were asked once more.
func (o *out) next(kind obstacle, text string, seeds []string, now time.Time) *out {
	n := &out{kind: kind, text: text, seeds: strings.Join(seeds, ",")}
	if o != nil {
		n.since = o.since
	}
	if kind == unreached {
		n.since = time.Time{}
	} else if n.since.IsZero() {
		n.since = now
	}
	return n
}

// complaints are made once in sayAgain each.
type complaints map[obstacle]time.Time

// due reports whether why is to be said now, and notes that it is.
func (c complaints) due(why obstacle, now time.Time) bool {
	if last, said := c[why]; said && now.Sub(last) < sayAgain {
		return false
	}
	c[why] = now
	return true
}
