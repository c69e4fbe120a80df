package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bulkBatch commands are under way at a time of each server's connection.
const bulkBatch = 256

// bulkTries is how often a key is set, or read, that was refused: the commands come as fast as
// servers take them, and one that has a slow moment says so.
const bulkTries = 20

// insist does something once for all keys, and again for those that were refused, of which
// once tells one of the reasons.
func insist(ctx context.Context, keys int, once func(keys []int) (refused []int, why string, err error)) error {
	all := make([]int, keys)
	for n := range all {
		all[n] = n
	}
	last := ""
	for range bulkTries {
		refused, why, err := once(all)
		if err != nil || len(refused) == 0 {
			return err
		}
		all, last = refused, why
		if err := pass(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d keys are refused again and again: %s", len(all), last)
}

// load sets the first version of all keys; route names the server of a key.
func load(ctx context.Context, keys int, route func(key string) string) error {
	return insist(ctx, keys, func(keys []int) ([]int, string, error) { return set(ctx, keys, route) })
}

// set sets the first version of keys, and returns those that were refused, with one of the
// reasons.
func set(ctx context.Context, keys []int, route func(key string) string) (refused []int, why string, err error) {
	var mu sync.Mutex
	err = bulk(ctx, keys, route, func(w *bufio.Writer, n int) {
		value := appendValue(nil, n, 0)
		fmt.Fprintf(w, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", keySize, keyOf(n), len(value), value)
	}, func(r *bufio.Reader, n int) error {
		line, err := r.ReadSlice('\n')
		if err == nil && string(line) != "+OK\r\n" {
			mu.Lock()
			defer mu.Unlock()
			refused, why = append(refused, n), strings.TrimSpace(string(line))
		}
		return err
	})
	return refused, why, err
}

// lost reads all keys and counts those that are missing or older than what was
// acknowledged.
func lost(ctx context.Context, l *ledger, route func(key string) string) (count int, err error) {
	var mu sync.Mutex
	err = insist(ctx, len(l.tried), func(keys []int) (refused []int, why string, err error) {
		err = bulk(ctx, keys, route, func(w *bufio.Writer, n int) {
			fmt.Fprintf(w, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", keySize, keyOf(n))
		}, func(r *bufio.Reader, n int) error {
			value, found, err := readString(r)
			mu.Lock()
			defer mu.Unlock()
			if no, ok := errors.AsType[refusal](err); ok {
				refused, why = append(refused, n), string(no)
				return nil
			}
			if err != nil {
				return fmt.Errorf("get key %d: %w", n, err)
			}
			v, err := l.judge(n, value, found)
			if v != right {
				count++
			}
			return err
		})
		return refused, why, err
	})
	return count, err
}

// refusal is an error reply.
type refusal string

func (r refusal) Error() string { return string(r) }

// readString reads a reply that is a string or nothing.
func readString(r *bufio.Reader) (value string, found bool, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", false, err
	}
	size, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch {
	case line[0] == '-':
		return "", false, refusal(strings.TrimSpace(line))
	case line[0] != '$' || err != nil:
		return "", false, fmt.Errorf("a reply of %q", line)
	case size < 0:
		return "", false, nil
	}
	b := make([]byte, size+2)
	_, err = io.ReadFull(r, b)
	return string(b[:size]), true, err
}

// bulk sends a command for each key over one connection to each server, and reads the
// replies.
func bulk(ctx context.Context, keys []int, route func(key string) string, command func(*bufio.Writer, int), reply func(*bufio.Reader, int) error) error {
	of := map[string][]int{}
	for _, n := range keys {
		address := route(keyOf(n))
		of[address] = append(of[address], n)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for address, numbers := range of {
		wg.Go(func() {
			if err := pipeline(ctx, address, numbers, command, reply); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func pipeline(ctx context.Context, address string, numbers []int, command func(*bufio.Writer, int), reply func(*bufio.Reader, int) error) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err // names operation and address already
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	for len(numbers) > 0 {
		batch := numbers[:min(bulkBatch, len(numbers))]
		numbers = numbers[len(batch):]
		for _, n := range batch {
			command(w, n)
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("send to %s: %w", address, err)
		}
		for _, n := range batch {
			if err := reply(r, n); err != nil {
				return fmt.Errorf("ask %s: %w", address, err)
			}
		}
	}
	return nil
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
