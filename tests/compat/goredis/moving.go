package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// moving is the part "While the ring changes" of the package comment of tests/compat.
type moving struct {
	ctx    context.Context
	client redis.UniversalClient
	prefix string

	mu           sync.Mutex
	acknowledged []string       // guarded by mu
	failed       int            // guarded by mu
	problems     map[string]int // guarded by mu
}

const (
	movingWriters = 4
	// movingPause keeps one client from taking the processor that the others need.
	movingPause = 2 * time.Millisecond
	// patience bounds how often a key is read again in the end.
	patience = time.Minute
)

func runMoving(ctx context.Context, client redis.UniversalClient, prefix string) {
	m := &moving{ctx: ctx, client: client, prefix: prefix, problems: map[string]int{}}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var wg sync.WaitGroup
	for w := range movingWriters {
		wg.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				case <-time.After(movingPause):
					m.write(fmt.Sprintf("%s%d:%d", prefix, w, round))
				}
			}
		})
	}
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-time.After(100 * time.Millisecond):
		}
		m.mu.Lock()
		fmt.Printf("acknowledged %d failed %d\n", len(m.acknowledged), m.failed)
		m.mu.Unlock()
	}
	wg.Wait()
	for _, key := range m.acknowledged {
		m.check(key)
	}
	for text, n := range m.problems {
		fmt.Printf("problem %d %s\n", n, text)
	}
}

// write writes a key that nobody else writes, and reads it back.
func (m *moving) write(key string) {
	err := m.client.Set(m.ctx, key, valueOf(key), 0).Err()
	if err == nil {
		m.mu.Lock()
		m.acknowledged = append(m.acknowledged, key)
		m.mu.Unlock()
		err = m.read(key)
	}
	if err != nil {
		m.note(err)
	}
}

// read fails the program when an acknowledged key is gone, and returns other errors.
func (m *moving) read(key string) error {
	got, err := m.client.Get(m.ctx, key).Result()
	if errors.Is(err, redis.Nil) || err == nil && got != valueOf(key) {
		fail("%s was acknowledged and reads as %q, %v", key, got, err)
	}
	return err
}

func (m *moving) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed++
	m.problems[err.Error()]++
}

// check reads a key in the end, until it is answered.
func (m *moving) check(key string) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := m.read(key)
		if err == nil {
			return
		}
		if m.note(err); time.Since(began) > patience {
			fail("%s was acknowledged and cannot be read: %v", key, err)
		}
	}
}
