package command

import "kvstore/cluster/coordinator"

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
