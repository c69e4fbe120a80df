package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

const (
	valueSize = 64
	// loadConnections pipelines of loadBatch commands are in flight at a time:
	// enough to keep a server busy without being what is measured.
	loadConnections = 4
	loadBatch       = 256
)

// appendKey appends the key that redis-benchmark makes of n.
func appendKey(dst []byte, n int) []byte { return fmt.Appendf(dst, "key:%012d", n) }

// appendValue appends 64 bytes that depend on n and do not compress well:
// the digits of a generator seeded with it (splitmix64, Steele and others 2014).
func appendValue(dst []byte, n int) []byte {
	state := uint64(n)
	for range valueSize / 16 {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		dst = fmt.Appendf(dst, "%016x", z^z>>31)
	}
	return dst
}

// load sets the keys [from, to) of the server at port.
func load(ctx context.Context, port, from, to int) error {
	return pipelines(ctx, port, from, to, 1, exchange{
		command: func(w *bufio.Writer, n int) {
			key, value := appendKey(nil, n), appendValue(nil, n)
			fmt.Fprintf(w, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(key), key, len(value), value)
		},
		reply: func(r *bufio.Reader, n int) error {
			line, err := r.ReadSlice('\n')
			if err == nil && string(line) != "+OK\r\n" {
				err = fmt.Errorf("key %d: reply %q", n, line)
			}
			return err
		},
	})
}

// verify reads every step-th of the keys [0, count) and compares its value with
// what load has set.
func verify(ctx context.Context, port, count, step int) error {
	return pipelines(ctx, port, 0, count, step, exchange{
		command: func(w *bufio.Writer, n int) {
			key := appendKey(nil, n)
			fmt.Fprintf(w, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
		},
		reply: func(r *bufio.Reader, n int) error {
			want := fmt.Sprintf("$%d\r\n%s\r\n", valueSize, appendValue(nil, n))
			got, err := r.Peek(len(want))
			if string(got) != want && (err == nil || errors.Is(err, io.EOF)) {
				return fmt.Errorf("key %d: reply %q", n, got)
			}
			if err == nil {
				_, err = r.Discard(len(want))
			}
			return err
		},
	})
}

// exchange is what pipelines sends and expects for the number n.
type exchange struct {
	command func(w *bufio.Writer, n int) // errors stick to w and show at its flush
	reply   func(r *bufio.Reader, n int) error
}

// pipelines runs e for every step-th number of [from, to), over several
// connections, each with a run of numbers of its own.
func pipelines(ctx context.Context, port, from, to, step int, e exchange) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	share := ((to-from)/loadConnections/step + 1) * step
	errs := make([]error, loadConnections)
	var wg sync.WaitGroup
	for i := range errs {
		first := from + i*share
		wg.Go(func() {
			if errs[i] = pipeline(ctx, port, first, min(first+share, to), step, e); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func pipeline(ctx context.Context, port, from, to, step int, e exchange) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(port))
	if err != nil {
		return fmt.Errorf("connect to port %d: %w", port, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	for first := from; first < to; first += loadBatch * step {
		last := min(first+loadBatch*step, to)
		for n := first; n < last; n += step {
			e.command(w, n)
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("send to %s: %w", conn.RemoteAddr(), err)
		}
		for n := first; n < last; n += step {
			if err := e.reply(r, n); err != nil {
				return fmt.Errorf("read from %s: %w", conn.RemoteAddr(), err)
			}
		}
	}
	return nil
}
