package command

import (
	"context"

	"kvstore/cluster/coordinator"
)

// mSetNX runs MSETNX in two passes: none of the keys may exist, then each is
// set unless it has come to exist. Redis does both in one step. Here another
// client may create a key between the passes: then the reply is 0, that key
// keeps the other client's value, and the keys before it are set.
type mSetNX struct {
	exists *coordinator.Op // a write that writes nothing: it asks the soft primary
	set    *coordinator.Op
}

func newMSetNX() *mSetNX {
	return &mSetNX{
		exists: &coordinator.Op{Name: "msetnx-exists", Write: true, Run: runExists},
		set:    &coordinator.Op{Name: "msetnx-set", Write: true, Run: runMSetNXPart},
	}
}

func (m *mSetNX) ops() []*coordinator.Op { return []*coordinator.Op{m.exists, m.set} }

func runMSetNXPart(c *coordinator.Call) {
	replyBool(c, !c.Exists)
	if !c.Exists {
		c.Put(c.Args[1], 0)
	}
}

func (m *mSetNX) run(ctx context.Context, c *Ctx) {
	if len(c.Args)%2 == 0 {
		c.Error("ERR wrong number of arguments for 'msetnx' command")
		return
	}
	pairs := lastOfEach(c.Args[1:])
	for i := 0; i < len(pairs); i += 2 {
		reply, err := c.Do(ctx, m.exists, c.Session.DB, pairs[i], []byte(m.exists.Name))
		if err != nil {
			c.Err = err
			return
		}
		if n, _ := replyNumber(reply); n != 0 {
			c.Bool(false)
			return
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		reply, err := c.Do(ctx, m.set, c.Session.DB, pairs[i], []byte(m.set.Name), pairs[i+1])
		switch {
		case err != nil && i == 0:
			c.Err = err
			return
		case err != nil:
			c.Out = appendPartial(c.Out, err)
			return
		}
		if n, _ := replyNumber(reply); n == 0 {
			c.Bool(false)
			return
		}
	}
	c.Bool(true)
}

// lastOfEach drops the pairs of a key and a value that a later one of the same
// key replaces.
func lastOfEach(pairs [][]byte) [][]byte {
	at := make(map[string]int, len(pairs)/2)
	kept := make([][]byte, 0, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		if j, seen := at[string(pairs[i])]; seen {
			kept[j+1] = pairs[i+1]
			continue
		}
		at[string(pairs[i])] = len(kept)
		kept = append(kept, pairs[i], pairs[i+1])
	}
	return kept
}
