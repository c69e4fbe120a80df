package resp

import (
	"bytes"
	"fmt"

	"github.com/tidwall/redcon"
)

// Limits of a Guard. Zero fields have the defaults below.
type Limits struct {
	Args  int // arguments of one command
	Bulk  int // bytes of one argument
	Frame int // bytes of one command, its lengths and line ends included
}

// The limits Redis has, and those it has before a client has authenticated.
// A frame is bounded by what Redis lets a client's query buffer grow to.
const (
	DefaultMaxArgs  = 1 << 20
	DefaultMaxBulk  = 512 << 20
	DefaultMaxFrame = 1 << 30

	StrangerMaxArgs = 10
	StrangerMaxBulk = 16 << 10
)

// maxLine bounds an inline command and the line of a length, as Redis's
// PROTO_INLINE_MAX_SIZE does.
const maxLine = 64 << 10

// withDefaults fills in what is not set.
func (l Limits) withDefaults() Limits {
	if l.Args == 0 {
		l.Args = DefaultMaxArgs
	}
	if l.Bulk == 0 {
		l.Bulk = DefaultMaxBulk
	}
	if l.Frame == 0 {
		l.Frame = max(DefaultMaxFrame, l.Bulk+maxLine)
	}
	return l
}

// Guard finds where commands end in a connection's input and takes them apart.
// The two forms are
//
//	*2\r\n$3\r\nGET\r\n$1\r\nk\r\n     an array of bulk strings
//	GET k\r\n                          inline: words, quoted as in Redis
//
// A command that arrived whole is taken apart as it is measured, in one pass.
// Of one that did not, the guard remembers how far it has looked and goes on
// from there, so that input trickling in costs linear time and a limit is
// enforced as soon as the length that breaks it is seen, whether or not the
// bytes it announces ever come.
type Guard struct {
	limits   Limits
	stranger bool

	// The state of a frame that is not whole, all relative to its beginning.
	begun   bool
	pos     int // where the next line begins
	looked  int // no line end lies in pos..looked
	missing int // bulk strings still to come
}

// NewGuard makes a guard. stranger applies the limits from before AUTH.
func NewGuard(l Limits, stranger bool) Guard {
	return Guard{limits: l.withDefaults(), stranger: stranger}
}

// Known ends the limits for strangers.
func (g *Guard) Known() { g.stranger = false }

// Next takes apart the first command of in, appending its arguments, which
// alias in, to args. n is the command's length; 0 means that it is not whole
// and that Next wants to be called with the same bytes and more after them. A
// command may be empty (an empty line): n is positive and there are no
// arguments. An error is final.
func (g *Guard) Next(in []byte, args [][]byte) (_ [][]byte, n int, err error) {
	if len(in) == 0 {
		return args, 0, nil
	}
	if in[0] != '*' {
		return g.inline(in, args)
	}
	first := !g.begun
	if first {
		g.pos, g.looked, g.missing = 0, 0, 0
		count, ok, err := g.length(in, "invalid multibulk length", "too big mbulk count string")
		if err != nil || !ok {
			return args, 0, err
		}
		if err := g.checkCount(count); err != nil {
			return args, 0, err
		}
		if count <= 0 {
			return args, g.pos, nil
		}
		g.begun, g.missing = true, int(count)
	}
	from := len(args)
	args, ok, err := g.bulks(in, args, first)
	if err != nil || !ok {
		return args[:from], 0, err
	}
	n, g.begun = g.pos, false
	if !first {
		// The pieces were only measured; now that all are here, take them apart.
		_, args, _, _, err = redcon.ReadNextCommand(in[:n], args[from:])
	}
	return args, n, err
}

// bulks goes on through the bulk strings of a frame, collecting them if it is
// there from the first one on.
func (g *Guard) bulks(in []byte, args [][]byte, collect bool) (_ [][]byte, ok bool, err error) {
	for ; g.missing > 0; g.missing-- {
		if g.pos >= len(in) {
			return args, false, nil
		}
		if in[g.pos] != '$' {
			return args, false, &ProtocolError{fmt.Sprintf("expected '$', got '%c'", in[g.pos])}
		}
		begin := g.pos
		size, ok, err := g.length(in, "invalid bulk length", "too big bulk count string")
		if err != nil || !ok {
			return args, false, err
		}
		if err := g.checkBulk(size); err != nil {
			return args, false, err
		}
		end := g.pos + int(size)
		if end+2 > len(in) {
			g.pos, g.looked = begin, g.pos-2
			return args, false, nil
		}
		if in[end] != '\r' || in[end+1] != '\n' {
			return args, false, &ProtocolError{"invalid bulk length"}
		}
		if collect {
			args = append(args, in[g.pos:end:end])
		}
		g.pos, g.looked = end+2, end+2
	}
	return args, true, nil
}

// length reads the line at g.pos, a letter and a number, and moves past it.
func (g *Guard) length(in []byte, invalid, tooLong string) (n int64, ok bool, err error) {
	i := g.pos + 1
	for i < len(in) && in[i]-'0' <= 9 && i-g.pos <= 10 {
		n = n*10 + int64(in[i]-'0')
		i++
	}
	if i+1 < len(in) && in[i] == '\r' && in[i+1] == '\n' && i > g.pos+1 && (in[g.pos+1] != '0' || i == g.pos+2) {
		g.pos, g.looked = i+2, i+2
		return n, true, nil
	}
	// Anything but a few digits and a line end.
	from := max(g.looked, g.pos)
	cr := bytes.IndexByte(in[from:], '\r')
	if cr < 0 || from+cr+1 == len(in) {
		if len(in)-g.pos > maxLine {
			return 0, false, &ProtocolError{tooLong}
		}
		g.looked = len(in)
		if cr >= 0 {
			g.looked--
		}
		return 0, false, nil
	}
	end := from + cr
	n, ok = ParseInt64(in[g.pos+1 : end])
	if !ok || in[end+1] != '\n' {
		return 0, false, &ProtocolError{invalid}
	}
	g.pos, g.looked = end+2, end+2
	return n, true, nil
}

func (g *Guard) checkCount(n int64) error {
	if g.stranger && n > StrangerMaxArgs {
		return &ProtocolError{"unauthenticated multibulk length"}
	}
	if n > int64(g.limits.Args) {
		return &ProtocolError{"invalid multibulk length"}
	}
	return nil
}

func (g *Guard) checkBulk(n int64) error {
	if n < 0 || n > int64(g.limits.Bulk) {
		return &ProtocolError{"invalid bulk length"}
	}
	if g.stranger && n > StrangerMaxBulk {
		return &ProtocolError{"unauthenticated bulk length"}
	}
	if int64(g.pos)+n > int64(g.limits.Frame) {
		return &ProtocolError{"too big request"}
	}
	return nil
}

// inline takes apart a command typed as a line.
func (g *Guard) inline(in []byte, args [][]byte) (_ [][]byte, n int, err error) {
	from := 0
	if g.begun {
		from = g.looked
	}
	end := bytes.IndexByte(in[from:], '\n')
	if end < 0 && len(in) > maxLine || end >= 0 && from+end > maxLine {
		return args, 0, &ProtocolError{"too big inline request"}
	}
	if end < 0 {
		g.begun, g.looked = true, len(in)
		return args, 0, nil
	}
	g.begun = false
	end += from
	args, ok := splitWords(args, bytes.TrimSuffix(in[:end], []byte{'\r'}))
	if !ok {
		return args, 0, &ProtocolError{"unbalanced quotes in request"}
	}
	return args, end + 1, nil
}
