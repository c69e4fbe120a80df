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
	case has("crypt", "No installed keys"):
		return otherKey
	case has("EOF", "connection reset", "broken pipe", "closed pipe"):
		return hungUp
	}
	return unreached
}

// explain says what keeps this node out, and how to mend it.
func explain(why obstacle, label string, seeds []string, err error) string {
	at := fmt.Sprintf("cluster.join = %q", strings.Join(seeds, ","))
	switch why {
	case hungUp:
		return fmt.Sprintf("%s hung up: most likely it is of a cluster of another name than cluster.name = %q; set cluster.name as it is there, or cluster.join to members of this cluster (cluster.secret must be the same, too)", at, label)
	case otherKey:
		return fmt.Sprintf("%s encrypts in another way: cluster.secret must be the same on all nodes of a cluster", at)
	}
	return fmt.Sprintf("%s does not let this node in: %s; start a member there, or correct cluster.join", at, oneLine(err))
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
