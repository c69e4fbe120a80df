package command

import (
	"math"
	"strconv"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/cluster/version"
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
	if overflows(value, delta) {
		replyError(c, resp.ErrTextOverflow)
		return
	}
	if counterHolds(c.Object, delta) {
		c.Add(delta)
	} else {
		c.Buf = strconv.AppendInt(c.Buf[:0], value+delta, 10)
		c.Put(c.Buf, keptDeadline(c))
	}
	replyInt(c, value+delta)
}

// counterHolds reports whether each node's sum of increments could take delta.
// A sum may be near the end of its range while the key's value, which is all
// sums and what they began from, is not; then the value is written plainly and
// the sums begin anew.
func counterHolds(o *version.Object, delta int64) bool {
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if s.Kind == version.Counter && overflows(s.Delta, delta) {
			return false
		}
	}
	return true
}

func overflows(a, b int64) bool {
	return b < 0 && a < math.MinInt64-b || b > 0 && a > math.MaxInt64-b
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
