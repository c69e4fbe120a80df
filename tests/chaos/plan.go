package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind is a kind of fault.
type kind uint8

const (
	kill     kind = iota // kill -9 of one node, and its start
	restart              // an orderly end, and a start
	pause                // SIGSTOP, and SIGCONT
	isolate              // nothing passes between one node and anyone
	mute                 // what one node sends is lost
	deafen               // what is sent to one node is lost
	unlink               // nothing passes between two nodes, which others reach
	oneWay               // what one node sends to one other is lost
	split                // nothing passes between two nodes and the other three
	delay                // links of one node are slow
	loss                 // links of one node lose packets
	fullDisk             // the disk of the node that has a small one is full
	killAll              // kill -9 of all nodes at once, and their start
	kinds
)

func (k kind) String() string {
	return [...]string{"kill", "restart", "pause", "isolate", "mute", "deafen", "unlink", "one-way", "split", "delay", "loss", "full disk", "kill all"}[k]
}

// weights say how often a kind is chosen, compared with others.
var weights = [kinds]int{kill: 5, restart: 2, pause: 4, isolate: 4, mute: 2, deafen: 2, unlink: 2, oneWay: 3, split: 2, delay: 3, loss: 3, fullDisk: 2, killAll: 1}

// fault is one fault: it begins, and after some time it ends.
type fault struct {
	kind   kind
	at     time.Duration // since the faults began
	length time.Duration
	node   int // where
	other  int // the second node, of kinds that have one
}

func (f fault) String() string {
	text := fmt.Sprintf("%6.1fs %v of n%d", f.at.Seconds(), f.kind, f.node+1)
	switch f.kind {
	case unlink, oneWay, split:
		text += fmt.Sprintf(" and n%d", f.other+1)
	case killAll:
		text = fmt.Sprintf("%6.1fs %v", f.at.Seconds(), f.kind)
	}
	return fmt.Sprintf("%s for %.1fs", text, f.length.Seconds())
}

// The lengths of faults and of the quiet between them.
const (
	shortFault, longFault = 1 * time.Second, 8 * time.Second
	shortQuiet, longQuiet = 500 * time.Millisecond, 4 * time.Second
)

// diskNode is the node with a small disk.
const diskNode = 4

// plan is the schedule of a seed: faults that begin and end within a time, alone or
// two that overlap, on different nodes.
func plan(seed uint64, within time.Duration) (faults []fault) {
	random := rand.New(rand.NewPCG(seed, 0))
	for at := shortQuiet; at+shortFault < within; {
		together := 1
		if random.IntN(3) == 0 {
			together = 2
		}
		end, taken := at, map[int]bool{}
		for range together {
			f := draw(random)
			if f.at = at; together == 2 {
				f.at += span(random, 0, shortFault)
			}
			f.length = min(f.length, within-f.at)
			if f.length <= 0 || taken[f.node] || f.kind == killAll && len(taken) > 0 {
				continue
			}
			taken[f.node], taken[f.other] = true, true
			faults = append(faults, f)
			if end = max(end, f.at+f.length); f.kind == killAll {
				break
			}
		}
		at = end + span(random, shortQuiet, longQuiet)
	}
	return faults
}

// draw chooses a fault by the weights, without its time.
func draw(random *rand.Rand) fault {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	f := fault{length: span(random, shortFault, longFault), node: random.IntN(nodeCount)}
	f.other = (f.node + 1 + random.IntN(nodeCount-1)) % nodeCount
	pick := random.IntN(sum)
	for pick >= weights[f.kind] {
		pick -= weights[f.kind]
		f.kind++
	}
	if f.kind == fullDisk {
		f.node = diskNode
	}
	return f
}

// span draws a time from low up to high.
func span(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

// nodeCount is the size of the cluster.
const nodeCount = 5
