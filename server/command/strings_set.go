package command

import (
	"math"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// options is a set of the words that SET and GETEX take after their value.
type options uint16

const (
	optNX options = 1 << iota
	optXX
	optGet
	optKeepTTL
	optPersist
	optEX   // seconds from now
	optPX   // milliseconds from now
	optEXAT // Unix seconds
	optPXAT // Unix milliseconds
)

const (
	// optsExpiry are followed by a number.
	optsExpiry = optEX | optPX | optEXAT | optPXAT
	// optsDeadline all say what becomes of the deadline; only one may be given.
	optsDeadline = optsExpiry | optKeepTTL | optPersist

	optionsOfSet   = optNX | optXX | optGet | optKeepTTL | optsExpiry
	optionsOfGetEx = optPersist | optsExpiry
)

// setOptions is what was given of them.
type setOptions struct {
	given  options
	expiry []byte // the number after EX, PX, EXAT or PXAT
}

func (o *setOptions) has(opt options) bool { return o.given&opt != 0 }

// parse reads options out of allowed, and reports whether they make sense
// together. The same option may be repeated; the last number counts.
func (o *setOptions) parse(args [][]byte, allowed options) bool {
	for i := 0; i < len(args); i++ {
		opt := parseOption(args[i]) & allowed
		if opt == 0 || o.given&conflicts(opt) != 0 {
			return false
		}
		o.given |= opt
		if opt&optsExpiry != 0 {
			if i++; i == len(args) {
				return false
			}
			o.expiry = args[i]
		}
	}
	return true
}

func parseOption(word []byte) options {
	switch len(word) {
	case 2:
		return parseShortOption(word[0]|0x20, word[1]|0x20)
	case 3:
		if equalFold(word, "get") {
			return optGet
		}
	case 4:
		if equalFold(word, "exat") {
			return optEXAT
		}
		if equalFold(word, "pxat") {
			return optPXAT
		}
	case 7:
		if equalFold(word, "keepttl") {
			return optKeepTTL
		}
		if equalFold(word, "persist") {
			return optPersist
		}
	}
	return 0
}

// parseShortOption reads the options of two letters, in small letters. All end
// in x, and setting the bit that makes a letter small makes none of another
// character.
func parseShortOption(first, second byte) options {
	if second != 'x' {
		return 0
	}
	switch first {
	case 'e':
		return optEX
	case 'p':
		return optPX
	case 'n':
		return optNX
	case 'x':
		return optXX
	}
	return 0
}

// conflicts are the options that opt cannot stand beside.
func conflicts(opt options) options {
	switch {
	case opt == optNX:
		return optXX
	case opt == optXX:
		return optNX
	case opt&optsDeadline != 0:
		return optsDeadline &^ opt
	}
	return 0
}

// deadline is the deadline asked for in Unix milliseconds, 0 if none was. It
// may have passed. It is not ok when the number is none or not positive, or
// when the deadline is beyond 64 bits.
func (o *setOptions) deadline(now int64) (at int64, ok bool) {
	if o.expiry == nil {
		return 0, true
	}
	at, ok = resp.ParseInt64(o.expiry)
	if !ok {
		return 0, false
	}
	if at <= 0 {
		return 0, false
	}
	return absolute(at, now, o.has(optEX|optPX), o.has(optEX|optEXAT))
}

// absolute turns a time as commands take it into Unix milliseconds. It is not
// ok when 64 bits do not hold it.
func absolute(t, now int64, relative, seconds bool) (at int64, ok bool) {
	if seconds {
		if t > math.MaxInt64/1000 || t < math.MinInt64/1000 {
			return 0, false
		}
		t *= 1000
	}
	if relative {
		if t > math.MaxInt64-now {
			return 0, false
		}
		t += now
	}
	return t, true
}

func replyBadExpire(c *coordinator.Call, command string) {
	replyError(c, "ERR invalid expire time in '"+command+"' command")
}

// replyBadDeadline says what is wrong with a number that makes no deadline.
func replyBadDeadline(c *coordinator.Call, number []byte, command string) {
	if _, ok := resp.ParseInt64(number); !ok {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	replyBadExpire(c, command)
}

func runSet(c *coordinator.Call) {
	if len(c.Args) == 3 {
		c.Put(c.Args[2], 0)
		c.Out = redcon.AppendOK(c.Out)
		return
	}
	var o setOptions
	if !o.parse(c.Args[3:], optionsOfSet) {
		replyError(c, resp.ErrTextSyntax)
		return
	}
	deadline, ok := o.deadline(c.Now)
	if !ok {
		replyBadDeadline(c, o.expiry, "set")
		return
	}
	if o.has(optKeepTTL) && c.Exists {
		deadline = c.Deadline
	}
	set := !(o.has(optNX) && c.Exists || o.has(optXX) && !c.Exists)
	switch {
	case o.has(optGet):
		replyValue(c)
	case set:
		c.Out = redcon.AppendOK(c.Out)
	default:
		c.Out = resp.AppendNull(c.Out, c.Proto)
	}
	if set {
		c.Put(c.Args[2], deadline)
	}
}

// setDepends reports whether a SET looks at what the key holds. A number that
// is read as an option here makes a syntax error of the command anyway.
func setDepends(args [][]byte) bool {
	for _, word := range args[min(3, len(args)):] {
		if parseOption(word)&(optNX|optXX|optGet|optKeepTTL) != 0 {
			return true
		}
	}
	return false
}

func runSetNX(c *coordinator.Call) {
	replyBool(c, !c.Exists)
	if !c.Exists {
		c.Put(c.Args[2], 0)
	}
}

func runSetEx(c *coordinator.Call)  { setFor(c, optEX, "setex") }
func runPSetEx(c *coordinator.Call) { setFor(c, optPX, "psetex") }

// setFor sets a value with a time to live that stands before it.
func setFor(c *coordinator.Call, unit options, command string) {
	o := setOptions{given: unit, expiry: c.Args[2]}
	deadline, ok := o.deadline(c.Now)
	if !ok {
		replyBadDeadline(c, o.expiry, command)
		return
	}
	c.Put(c.Args[3], deadline)
	c.Out = redcon.AppendOK(c.Out)
}

func runGetSet(c *coordinator.Call) {
	replyValue(c)
	c.Put(c.Args[2], 0)
}

// runMSetPart sets one key of several; its arguments are the key and the value.
func runMSetPart(c *coordinator.Call) {
	c.Put(c.Args[1], 0)
	c.Out = redcon.AppendOK(c.Out)
}
