package command

import (
	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// runDel, like all parts of a Scatter, is told its key by c.Key.
func runDel(c *coordinator.Call) {
	replyBool(c, c.Exists)
	if c.Exists {
		c.Remove()
	}
}

func runExists(c *coordinator.Call) { replyBool(c, c.Exists) }

func runType(c *coordinator.Call) {
	if c.Exists {
		c.Out = redcon.AppendString(c.Out, "string")
	} else {
		c.Out = redcon.AppendString(c.Out, "none")
	}
}

func runTTL(c *coordinator.Call)         { replyDeadline(c, c.Now, true) }
func runPTTL(c *coordinator.Call)        { replyDeadline(c, c.Now, false) }
func runExpireTime(c *coordinator.Call)  { replyDeadline(c, 0, true) }
func runPExpireTime(c *coordinator.Call) { replyDeadline(c, 0, false) }

// replyDeadline replies how long after since the key expires.
func replyDeadline(c *coordinator.Call, since int64, seconds bool) {
	switch {
	case !c.Exists:
		replyInt(c, -2)
		return
	case c.Deadline == 0:
		replyInt(c, -1)
		return
	}
	left := max(c.Deadline-since, 0)
	if seconds {
		// Rounded as Redis rounds, half a second up. The sum may pass 64 bits
		// where deadlines are that far.
		left = int64((uint64(left) + 500) / 1000)
	}
	replyInt(c, left)
}

func runPersist(c *coordinator.Call) {
	had := c.Exists && c.Deadline != 0
	if had {
		c.Expire(0)
	}
	replyBool(c, had)
}

func runExpire(c *coordinator.Call)    { expire(c, "expire", true, true) }
func runPExpire(c *coordinator.Call)   { expire(c, "pexpire", true, false) }
func runExpireAt(c *coordinator.Call)  { expire(c, "expireat", false, true) }
func runPExpireAt(c *coordinator.Call) { expire(c, "pexpireat", false, false) }

// expireConditions is a set of the words EXPIRE takes after its time.
type expireConditions uint8

const (
	expireNX expireConditions = 1 << iota // only without a deadline
	expireXX                              // only with one
	expireGT                              // only to a later one; none is the latest
	expireLT                              // only to an earlier one
)

// parseExpire reads them. The text is of the error, empty if there is none.
func parseExpire(args [][]byte) (given expireConditions, text string) {
	for _, word := range args {
		switch {
		case equalFold(word, "nx"):
			given |= expireNX
		case equalFold(word, "xx"):
			given |= expireXX
		case equalFold(word, "gt"):
			given |= expireGT
		case equalFold(word, "lt"):
			given |= expireLT
		default:
			return 0, printable(append([]byte("ERR Unsupported option "), echo(word)...))
		}
	}
	if given&expireNX != 0 && given != expireNX {
		return 0, resp.ErrTextNX
	}
	if given&expireGT != 0 && given&expireLT != 0 {
		return 0, resp.ErrTextGTLT
	}
	return given, ""
}

// allow reports whether the conditions let a deadline, 0 for none, be changed
// to at.
func (e expireConditions) allow(deadline, at int64) bool {
	switch {
	case e&expireNX != 0 && deadline != 0,
		e&expireXX != 0 && deadline == 0,
		e&expireGT != 0 && (deadline == 0 || at <= deadline),
		e&expireLT != 0 && deadline != 0 && at >= deadline:
		return false
	}
	return true
}

// expire gives a key a deadline, or deletes it when that has already passed.
func expire(c *coordinator.Call, command string, relative, seconds bool) {
	conditions, text := parseExpire(c.Args[3:])
	if text != "" {
		replyError(c, text)
		return
	}
	t, ok := resp.ParseInt64(c.Args[2])
	if !ok {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	at, ok := absolute(t, c.Now, relative, seconds)
	if !ok {
		replyBadExpire(c, command)
		return
	}
	if !c.Exists || !conditions.allow(c.Deadline, at) {
		replyBool(c, false)
		return
	}
	if at <= c.Now {
		c.Remove()
	} else {
		c.Expire(at)
	}
	replyBool(c, true)
}
