package operating

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kvstore/tests/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// patient are settings of nodes whose clients are to be answered well on a machine that has other work.
var patient = []string{"cluster.partitions=32", "replication.read_timeout=15s", "replication.write_timeout=15s"}

// writer writes unique keys, one after the other, and remembers what was acknowledged.
type writer struct {
	t     *testing.T
	stop  func() // waits for its end
	mu    sync.Mutex
	done  int             // guarded by mu: keys 0 to done-1 were acknowledged
	wrong map[string]bool // guarded by mu: replies that are errors
}

func keyOf(i int) string { return fmt.Sprintf("key:%d", i) }

// startWriter starts a client of all nodes. It stays with one until the connection ends, then goes on with the next: a
// write whose reply did not come is done again, as clients that reconnect do.
func startWriter(t *testing.T, nodes []*process.Node) *writer {
	t.Helper()
	w := &writer{t: t, wrong: map[string]bool{}}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	w.stop = sync.OnceFunc(func() { close(quit); wg.Wait() })
	t.Cleanup(w.stop)
	wg.Go(func() {
		var c *process.Conn
		defer func() {
			if c != nil {
				c.Close()
			}
		}()
		for at := 0; ; {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			if c == nil {
				var err error
				if c, err = process.TryDial(t, nodes[at%len(nodes)].Client); err != nil {
					at++
					continue
				}
			}
			if w.write(c) {
				continue
			}
			c.Close()
			c = nil
			at++
		}
	})
	return w
}

// write writes the next key and reads it back, and does so again where the reply is an error; false says that the connection has ended.
func (w *writer) write(c *process.Conn) bool {
	i := w.count()
	key := keyOf(i)
	for _, command := range [][]string{{"SET", key, key}, {"GET", key}} {
		reply, err := c.Try(command...)
		if err != nil {
			return false
		}
		if reply != "OK" && reply != key {
			w.mu.Lock()
			w.wrong[command[0]+": "+reply] = true
			w.mu.Unlock()
			return true // once more
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = i + 1
	return true
}

// count is how many writes were acknowledged: those of the keys below.
func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// more waits until so many more writes were acknowledged.
func (w *writer) more(n int) {
	w.t.Helper()
	target := w.count() + n
	process.Await(w.t, func() bool { return w.count() >= target }, func() string { return "the client does not get on" })
}

// faultless ends the client, to which nothing but closed connections may have happened.
func (w *writer) faultless() {
	w.t.Helper()
	w.stop()
	for reply := range w.wrong {
		w.t.Errorf("the client was answered %q", reply)
	}
}

// holds reads the first so many keys from a node at a level.
func holds(t *testing.T, n *process.Node, level string, count int) {
	t.Helper()
	c := process.Dial(t, n.Client)
	c.Expect("QUORUM SET R "+level+" TIMEOUT 20000", "OK")
	const batch = 200
	for i := 0; i < count; i += batch {
		args := []string{"MGET"}
		for k := i; k < min(i+batch, count); k++ {
			args = append(args, keyOf(k))
		}
		got := strings.Fields(strings.Trim(c.Do(args...), "[]"))
		for k, key := range args[1:] {
			if len(got) != len(args)-1 || got[k] != key {
				t.Fatalf("%s at R=%s, the key %s of %d: %.300s", n.Name, level, key, count, got[min(k, len(got)):])
			}
		}
	}
}
