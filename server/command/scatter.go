package command

import (
	"errors"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// Scatter runs one operation for each key of a command. The server makes one
// request a key, Part saying with which key and arguments, submits them in
// order, and when all are complete has Gather append the reply.
type Scatter struct {
	Op *coordinator.Op
	// Gather appends the one reply; parts are complete and in the order of the
	// keys. It words the errors of parts itself.
	Gather func(out []byte, proto uint8, parts []*coordinator.Request) []byte
}

// Part is the i-th of the requests the command falls into, counted as Keys
// counts. Its arguments are a piece of the command's own, the key first, so
// that nothing is copied; Op takes what follows its key from Args[1].
func (s *Scatter) Part(c *Command, args [][]byte, i int) (key []byte, part [][]byte) {
	at := c.FirstKey + i*c.Step
	return args[at], args[at : at+c.Step]
}

// whole reports whether n arguments fall into whole parts: MSET takes pairs.
func (s *Scatter) whole(c *Command, n int) bool { return (n-c.FirstKey)%c.Step == 0 }

// gatherArray replies what each part replied, in order.
func gatherArray(out []byte, _ uint8, parts []*coordinator.Request) []byte {
	if out, failed := appendPartError(out, parts); failed {
		return out
	}
	out = redcon.AppendArray(out, len(parts))
	for _, p := range parts {
		out = append(out, p.Out...)
	}
	return out
}

// gatherSum replies the sum of the integers the parts replied. A part that
// replied something else, an error, is the reply.
func gatherSum(out []byte, _ uint8, parts []*coordinator.Request) []byte {
	if out, failed := appendPartError(out, parts); failed {
		return out
	}
	var sum int64
	for _, p := range parts {
		n, ok := replyNumber(p.Out)
		if !ok {
			return append(out, p.Out...)
		}
		sum += n
	}
	return redcon.AppendInt(out, sum)
}

// gatherOK replies +OK when every part did what it should.
func gatherOK(out []byte, _ uint8, parts []*coordinator.Request) []byte {
	if out, failed := appendPartError(out, parts); failed {
		return out
	}
	return redcon.AppendOK(out)
}

// appendPartError appends the error of the first part that failed. The error
// of a request says whether that request wrote anything. The same is not true
// of the whole command when other parts have written: then the outcome is
// unknown.
func appendPartError(out []byte, parts []*coordinator.Request) (_ []byte, failed bool) {
	var first error
	wrote := false
	for _, p := range parts {
		if p.Err == nil || errors.Is(p.Err, coordinator.ErrTimeout) {
			wrote = wrote || p.Op.Write
		}
		if first == nil {
			first = p.Err
		}
	}
	switch {
	case first == nil:
		return out, false
	case wrote && len(parts) > 1:
		return appendPartial(out, first), true
	}
	return AppendError(out, first), true
}

// appendPartial words the error of a command that may have changed some of its
// keys before it failed.
func appendPartial(out []byte, err error) []byte {
	return redcon.AppendError(out, "TIMEOUT some keys may have been written: "+err.Error())
}

// replyNumber reads an integer reply.
func replyNumber(reply []byte) (int64, bool) {
	if len(reply) < 4 || reply[0] != ':' {
		return 0, false
	}
	return resp.ParseInt64(reply[1 : len(reply)-2])
}
