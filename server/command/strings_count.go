package command

import (
	"math"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

func runIncr(c *coordinator.Call) { count(c, 1) }
func runDecr(c *coordinator.Call) { count(c, -1) }

func runIncrBy(c *coordinator.Call) {
	delta, ok := resp.ParseInt64(c.Args[2])
	if !ok {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	count(c, delta)
}

func runDecrBy(c *coordinator.Call) {
	delta, ok := resp.ParseInt64(c.Args[2])
	switch {
	case !ok:
		replyError(c, resp.ErrTextNotInteger)
	case delta == math.MinInt64: // it has no opposite
		replyError(c, resp.ErrTextDecrOverflow)
	default:
		count(c, -delta)
	}
}

// count adds delta to the key as a counter, so that increments made elsewhere
// at the same time are kept. The reply is the sum as this replica sees it.
func count(c *coordinator.Call, delta int64) {
	var value int64
	if c.Exists {
		var ok bool
		if value, ok = resp.ParseInt64(c.Value); !ok {
			replyError(c, resp.ErrTextNotInteger)
			return
		}
	}
	if delta < 0 && value < math.MinInt64-delta || delta > 0 && value > math.MaxInt64-delta {
		replyError(c, resp.ErrTextOverflow)
		return
	}
	c.Add(delta)
	replyInt(c, value+delta)
}

func runIncrByFloat(c *coordinator.Call) {
	value := []byte("0")
	if c.Exists {
		value = c.Value
	}
	sum, err := resp.AddFloat(c.Buf[:0], value, c.Args[2])
	if err != nil {
		replyError(c, "ERR "+err.Error())
		return
	}
	c.Buf = sum
	c.Put(sum, keptDeadline(c))
	c.Out = redcon.AppendBulk(c.Out, sum)
}
