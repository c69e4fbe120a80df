package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kvstore/tests/lab"
)

const (
	atOnce       = 100 // keys of one MGET
	readers      = 4   // connections that read at the same time
	readWithin   = 10 * time.Second
	readAttempts = 20 // of one MGET, which can meet a timeout on a busy machine
)

// readAll reads keys at a level, through nodes in turn or only the one given.
func readAll(addresses []string, keys []string, level string) (map[string]state, error) {
	found := make(map[string]state, len(keys))
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	batches := make(chan []string)
	for i := range readers {
		r := reader{address: addresses[i%len(addresses)], level: level}
		wg.Go(func() {
			defer r.close()
			for batch := range batches {
				states, err := r.read(batch)
				mu.Lock()
				for j := range states {
					found[batch[j]] = states[j]
				}
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	for batch := range slices.Chunk(keys, atOnce) {
		batches <- batch
	}
	close(batches)
	wg.Wait()
	return found, errors.Join(errs...)
}

// reader reads at a level through one node.
type reader struct {
	address, level string
	conn           *lab.Conn
}

func (r *reader) close() {
	if r.conn != nil {
		r.conn.Close()
	}
}

// read repeats what fails: a read may.
func (r *reader) read(keys []string) (states []state, err error) {
	for range readAttempts {
		if states, err = r.try(keys); err == nil {
			return states, nil
		}
		r.close()
		r.conn = nil
		time.Sleep(backOff)
	}
	return nil, fmt.Errorf("read at R=%s through %s: %w", r.level, r.address, err)
}

func (r *reader) try(keys []string) (states []state, err error) {
	if r.conn == nil {
		if r.conn, err = lab.Dial(r.address, readWithin); err != nil {
			return nil, err
		}
		if reply, err := r.conn.Do(readWithin, "quorum", "set", "r", r.level, "strict"); err != nil || reply.Error {
			return nil, errors.Join(errors.New(reply.Text), err)
		}
	}
	reply, err := r.conn.Do(readWithin, append([]string{"mget"}, keys...)...)
	if err != nil || reply.Error {
		return nil, errors.Join(errors.New(reply.Text), err)
	}
	for _, item := range reply.Items {
		if item.Error {
			return nil, errors.New(item.Text)
		}
		states = append(states, state{item.Text, !item.Nil})
	}
	return states, nil
}

// verdict is what the checks found.
type verdict struct {
	violations []string
	undecided  int
}

// verify checks each key's history and what it is at the end.
func verify(keys map[string][]*op, end map[string]state) (v verdict) {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		ops := keys[key]
		var err error
		switch work, _, _ := strings.Cut(key, ":"); work {
		case "register":
			err = checkRegister(append(ops, lastRead(key, ops, end[key])))
		case "counter":
			err = checkCounter(ops, end[key])
		case "each", "local":
			err = cmp.Or(checkSeen(ops), checkOwned(written(ops), end[key]))
		default:
			err = checkOwned(ops, end[key])
		}
		switch {
		case errors.Is(err, errUndecided):
			v.undecided++
		case err != nil:
			v.violations = append(v.violations, key+": "+err.Error())
		}
	}
	return v
}

// lastRead is the read at the end as an operation after all others.
func lastRead(key string, ops []*op, found state) *op {
	last := time.Duration(0)
	for _, o := range ops {
		if last = max(last, o.call); o.outcome != unknown {
			last = max(last, o.end)
		}
	}
	return &op{client: len(ops), node: "all", command: "get", key: key, call: last + 1, end: last + 2, outcome: acknowledged, reply: found}
}

// spread finds the keys of which nodes, each asked alone (R=ONE), say different
// things.
func spread(addresses, keys []string) (differing []string, err error) {
	var first map[string]state
	found := map[string]bool{}
	for i, address := range addresses {
		alone, err := readAll([]string{address}, keys, "one")
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = alone
			continue
		}
		for key, s := range alone {
			if s != first[key] {
				found[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// differ compares what one node says alone with what all said.
func differ(node string, end, alone map[string]state) (violations []string) {
	for _, key := range slices.Sorted(maps.Keys(alone)) {
		if alone[key] != end[key] {
			violations = append(violations, fmt.Sprintf("%s: %s alone says %v, all replicas together %v", key, node, alone[key], end[key]))
		}
	}
	return violations
}
