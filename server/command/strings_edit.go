package command

import (
	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

func runAppend(c *coordinator.Call) {
	if c.Exists && len(c.Value)+len(c.Args[2]) > c.MaxValue {
		replyError(c, resp.ErrTextTooLong)
		return
	}
	c.Buf = c.Buf[:0]
	if c.Exists {
		c.Buf = append(c.Buf, c.Value...)
	}
	c.Buf = append(c.Buf, c.Args[2]...)
	replyInt(c, int64(len(c.Buf)))
	c.Put(c.Buf, keptDeadline(c))
}

func runSetRange(c *coordinator.Call) {
	offset, ok := resp.ParseInt64(c.Args[2])
	if !ok {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	if offset < 0 {
		replyError(c, resp.ErrTextOffset)
		return
	}
	var value []byte
	if c.Exists {
		value = c.Value
	}
	part := c.Args[3]
	if len(part) == 0 {
		replyInt(c, int64(len(value)))
		return
	}
	if offset > int64(c.MaxValue-len(part)) {
		replyError(c, resp.ErrTextTooLong)
		return
	}
	c.Buf = overwrite(c.Buf[:0], value, int(offset), part)
	replyInt(c, int64(len(c.Buf)))
	c.Put(c.Buf, keptDeadline(c))
}

// overwrite appends value to dst with part at offset, and zero bytes where
// neither reaches.
func overwrite(dst, value []byte, offset int, part []byte) []byte {
	dst = append(dst, value...)
	if gap := offset + len(part) - len(dst); gap > 0 {
		dst = append(dst, make([]byte, gap)...)
	}
	copy(dst[offset:], part)
	return dst
}

// keptDeadline is the deadline of a key that is changed but not replaced.
func keptDeadline(c *coordinator.Call) int64 {
	if c.Exists {
		return c.Deadline
	}
	return 0
}
