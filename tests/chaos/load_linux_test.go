package chaos

import (
	"fmt"
	"strings"
	"time"

	"kvstore/tests/lab"
)

// stockValue makes what is loaded large enough to take a while when it moves.
const stockValue = 1 << 10

// load writes keys that nobody touches afterwards.
func (tr *trial) load(keys int) {
	tr.t.Helper()
	c := newClient(-1, tr.seed, tr.doors, tr.w.start)
	tr.loaded = c
	conn, err := lab.Dial(tr.w.living()[0].Client, lab.Patience)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer conn.Close()
	for first := 0; first < keys; first += atOnce {
		args := []string{"mset"}
		var ops []op
		for i := first; i < min(first+atOnce, keys); i++ {
			o := op{client: c.id, command: "set", key: fmt.Sprintf("stock:%d", i), call: time.Since(c.start), outcome: acknowledged}
			o.value = fmt.Sprintf("%d:%s", i, strings.Repeat("x", stockValue))
			args = append(args, o.key, o.value)
			ops = append(ops, o)
		}
		reply, err := conn.Do(lab.Patience, args...)
		if err != nil || reply.Error {
			tr.t.Fatalf("load: %v %s", err, reply.Text)
		}
		for i := range ops {
			ops[i].end = time.Since(c.start)
		}
		c.history = append(c.history, ops...)
	}
}
