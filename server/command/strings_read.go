package command

import (
	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// replyValue appends the value of the key, or nil.
func replyValue(c *coordinator.Call) {
	if c.Exists {
		c.Out = redcon.AppendBulk(c.Out, c.Value)
	} else {
		c.Out = resp.AppendNull(c.Out, c.Proto)
	}
}

func replyError(c *coordinator.Call, text string) { c.Out = redcon.AppendError(c.Out, text) }

func replyInt(c *coordinator.Call, n int64) { c.Out = redcon.AppendInt(c.Out, n) }

func replyBool(c *coordinator.Call, yes bool) {
	if yes {
		c.Out = append(c.Out, ":1\r\n"...)
	} else {
		c.Out = append(c.Out, ":0\r\n"...)
	}
}

func runGet(c *coordinator.Call) { replyValue(c) }

func runStrlen(c *coordinator.Call) { replyInt(c, int64(len(c.Value))) }

func runGetDel(c *coordinator.Call) {
	replyValue(c)
	if c.Exists {
		c.Remove()
	}
}

func runGetRange(c *coordinator.Call) {
	start, ok1 := resp.ParseInt64(c.Args[2])
	end, ok2 := resp.ParseInt64(c.Args[3])
	if !ok1 || !ok2 {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	var value []byte
	if c.Exists {
		value = c.Value
	}
	c.Out = redcon.AppendBulk(c.Out, byteRange(value, start, end))
}

// byteRange is value from start to end, both included; negative positions count
// from the end, -1 being the last byte.
func byteRange(value []byte, start, end int64) []byte {
	size := int64(len(value))
	if start < 0 && end < 0 && start > end {
		// Both might move to 0 below, which would wrongly leave the first byte.
		return nil
	}
	if start < 0 {
		start = max(start+size, 0)
	}
	if end < 0 {
		end = max(end+size, 0)
	}
	end = min(end, size-1)
	if start > end {
		return nil
	}
	return value[start : end+1]
}

func runGetEx(c *coordinator.Call) {
	var o setOptions
	if !o.parse(c.Args[2:], optionsOfGetEx) {
		replyError(c, resp.ErrTextSyntax)
		return
	}
	if !c.Exists {
		replyValue(c)
		return
	}
	deadline, ok := o.deadline(c.Now)
	if !ok {
		replyBadDeadline(c, o.expiry, "getex")
		return
	}
	replyValue(c)
	switch {
	case o.has(optPersist):
		if c.Deadline != 0 {
			c.Expire(0)
		}
	case o.expiry == nil:
	case deadline <= c.Now:
		c.Remove()
	default:
		c.Expire(deadline)
	}
}
