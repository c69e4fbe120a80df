package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// writers write at once, each its own keys, one after the other.
const writers = 8

// keyOf names the key that a writer writes in a round.
func keyOf(writer, round int) string { return fmt.Sprintf("work:%d:%d", writer, round) }

// valueOf makes a value of the key, so that a value of another key shows.
func valueOf(key string) string { return "value of " + key }

// workload writes until standard input ends, reads back some of what was
// acknowledged, and writes the names of all acknowledged keys to a file.
// Now and then it prints how many writes and reads were acknowledged, how many failed
// and how the last one did.
func workload(ctx context.Context, file string, client redis.UniversalClient) {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var mu sync.Mutex
	var acknowledged []string
	failed, problem := 0, error(nil)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				key := keyOf(w, round)
				err := client.Set(ctx, key, valueOf(key), 0).Err()
				if err == nil {
					var got string
					if got, err = client.Get(ctx, key).Result(); errors.Is(err, redis.Nil) || err == nil && got != valueOf(key) {
						fail("%s was acknowledged and reads as %q, %v", key, got, err)
					}
					mu.Lock()
					acknowledged = append(acknowledged, key)
					mu.Unlock()
				}
				if err != nil {
					mu.Lock()
					failed, problem = failed+1, err
					mu.Unlock()
				}
			}
		})
	}
	report := func() {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("acknowledged %d failed %d last problem: %v\n", len(acknowledged), failed, problem)
	}
	for running := true; running; report() {
		select {
		case <-stop:
			running = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	wg.Wait()
	if err := os.WriteFile(file, []byte(strings.Join(acknowledged, "\n")), 0o600); err != nil {
		fail("%v", err)
	}
	verify(ctx, file, client)
}

// verify reads every acknowledged key.
func verify(ctx context.Context, file string, client redis.UniversalClient) {
	f, err := os.Open(file)
	if err != nil {
		fail("%v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	var keys []string
	for lines.Scan() {
		keys = append(keys, lines.Text())
	}
	const batch = 200
	for len(keys) > 0 {
		some := keys[:min(batch, len(keys))]
		keys = keys[len(some):]
		replies, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range some {
				p.Get(ctx, k)
			}
			return nil
		})
		for i, r := range replies {
			if got, err := r.(*redis.StringCmd).Result(); err != nil || got != valueOf(some[i]) {
				fail("%s was acknowledged and reads as %q, %v", some[i], got, err)
			}
		}
		if err != nil {
			fail("%v", err)
		}
	}
}
