package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// pipelined is how many keys the pipeline writes and SCAN has to find.
const pipelined = 500

type scenario struct {
	ctx    context.Context
	prefix string
	client redis.UniversalClient
}

func (s *scenario) run() {
	s.strings()
	s.expiry()
	s.pipeline()
	s.scan()
	s.quorum()
	s.vclock()
	s.errors()
}

func (s *scenario) key(name string) string { return s.prefix + name }

// want fails the scenario unless got prints as expected.
func want(step string, got any, err error, expected string) {
	if err != nil {
		fail("%s: %v", step, err)
	}
	if text := fmt.Sprint(got); text != expected {
		fail("%s: got %s, want %s", step, text, expected)
	}
}

func (s *scenario) strings() {
	c := s.client
	pong, err := c.Ping(s.ctx).Result()
	want("PING", pong, err, "PONG")
	var every [256]byte
	for i := range every {
		every[i] = byte(i)
	}
	ok, err := c.Set(s.ctx, s.key("bytes"), every[:], 0).Result()
	want("SET", ok, err, "OK")
	got, err := c.Get(s.ctx, s.key("bytes")).Bytes()
	want("GET of all bytes", slices.Equal(got, every[:]), err, "true")
	length, err := c.Append(s.ctx, s.key("bytes"), "!").Result()
	want("APPEND", length, err, "257")
	number, err := c.IncrBy(s.ctx, s.key("number"), 41).Result()
	want("INCRBY", number, err, "41")
	number, err = c.Incr(s.ctx, s.key("number")).Result()
	want("INCR", number, err, "42")
	stored, err := c.SetNX(s.ctx, s.key("number"), "no", 0).Result()
	want("SETNX of what exists", stored, err, "false")
	tag := s.prefix + "{tag}"
	ok, err = c.MSet(s.ctx, tag+"a", "1", tag+"b", "2").Result()
	want("MSET", ok, err, "OK")
	values, err := c.MGet(s.ctx, tag+"a", tag+"none", tag+"b").Result()
	want("MGET", values, err, "[1 <nil> 2]")
	deleted, err := c.Del(s.ctx, tag+"a", tag+"b").Result()
	want("DEL", deleted, err, "2")
	if err := c.Get(s.ctx, tag+"a").Err(); !errors.Is(err, redis.Nil) {
		fail("GET of what was deleted: %v", err)
	}
}

func (s *scenario) expiry() {
	c, key := s.client, s.key("mortal")
	ok, err := c.Set(s.ctx, key, "x", 300*time.Millisecond).Result()
	want("SET PX", ok, err, "OK")
	left, err := c.PTTL(s.ctx, key).Result()
	want("PTTL", left > 0 && left <= 300*time.Millisecond, err, "true")
	for {
		if err := c.Get(s.ctx, key).Err(); errors.Is(err, redis.Nil) {
			break
		} else if err != nil {
			fail("GET of what expires: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	set, err := c.Expire(s.ctx, s.key("number"), time.Hour).Result()
	want("EXPIRE", set, err, "true")
	set, err = c.Persist(s.ctx, s.key("number")).Result()
	want("PERSIST", set, err, "true")
	left, err = c.TTL(s.ctx, s.key("number")).Result()
	want("TTL without a deadline", left, err, "-1ns")
}

func (s *scenario) pipeline() {
	_, err := s.client.Pipelined(s.ctx, func(p redis.Pipeliner) error {
		for i := range pipelined {
			p.Set(s.ctx, s.key(fmt.Sprintf("many:%d", i)), i, 0)
		}
		return nil
	})
	want("a pipeline of SET", "", err, "")
	replies, err := s.client.Pipelined(s.ctx, func(p redis.Pipeliner) error {
		for i := range pipelined {
			p.Get(s.ctx, s.key(fmt.Sprintf("many:%d", i)))
		}
		return nil
	})
	want("a pipeline of GET", len(replies), err, fmt.Sprint(pipelined))
	for i, r := range replies {
		want("a reply of the pipeline", r.(*redis.StringCmd).Val(), r.Err(), fmt.Sprint(i))
	}
}

func (s *scenario) scan() {
	found := map[string]bool{}
	var cursor uint64
	for {
		keys, next, err := s.client.Scan(s.ctx, cursor, s.key("many:*"), 100).Result()
		want("SCAN", "", err, "")
		for _, k := range keys {
			found[k] = true
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	want("the keys of SCAN", len(found), nil, fmt.Sprint(pipelined))
}

func (s *scenario) quorum() {
	key := s.key("number")
	v, err := s.client.Do(s.ctx, "QUORUM", "CALL", "-", "ALL", "SET", key, "43").Result()
	want("QUORUM CALL of a write", v, err, "OK")
	v, err = s.client.Do(s.ctx, "QUORUM", "CALL", "ALL", "-", "GET", key).Result()
	want("QUORUM CALL of a read", v, err, "43")
	v, err = s.client.Do(s.ctx, "QUORUM").Result()
	settings, isMap := v.(map[any]any) // RESP3
	want("QUORUM", isMap && settings["r"] == "quorum", err, "true")
	v, err = s.client.Do(s.ctx, "QUORUM", "KEY", key).Result()
	where, isMap := v.(map[any]any)
	want("QUORUM KEY", isMap && where["slot"] != nil, err, "true")
	err = s.client.Do(s.ctx, "QUORUM", "CALL", "7", "-", "GET", key).Err()
	if err == nil || !strings.HasPrefix(err.Error(), "ERR level '7' cannot be met") {
		fail("QUORUM CALL of a level that cannot be met: %v", err)
	}
}

func (s *scenario) vclock() {
	key := s.key("conflict")
	for _, value := range []string{"a", "b"} {
		_, err := s.client.Do(s.ctx, "VCLOCK", "SET", key, "", value).Result()
		want("VCLOCK SET", "", err, "")
	}
	context, values := s.siblings(key)
	slices.Sort(values)
	want("the siblings of a conflict", values, nil, "[a b]")
	after, err := s.client.Do(s.ctx, "VCLOCK", "SET", key, context, "c").Text()
	want("VCLOCK SET with the context", after != "", err, "true")
	order, err := s.client.Do(s.ctx, "VCLOCK", "COMPARE", context, after).Text()
	want("VCLOCK COMPARE", order, err, "before")
	context, values = s.siblings(key)
	want("what is left of the conflict", values, nil, "[c]")
	_, err = s.client.Do(s.ctx, "VCLOCK", "DEL", key, context).Result()
	want("VCLOCK DEL", "", err, "")
	if err := s.client.Get(s.ctx, key).Err(); !errors.Is(err, redis.Nil) {
		fail("GET after VCLOCK DEL: %v", err)
	}
}

func (s *scenario) siblings(key string) (context string, values []string) {
	reply, err := s.client.Do(s.ctx, "VCLOCK", "GET", key).Slice()
	want("VCLOCK GET", len(reply), err, "2")
	for _, v := range reply[1].([]any) {
		values = append(values, v.(string))
	}
	return reply[0].(string), values
}

func (s *scenario) errors() {
	c := s.client
	for _, e := range []struct {
		err  error
		want string
	}{
		{c.Do(s.ctx, "GET").Err(), "ERR wrong number of arguments for 'get' command"},
		{c.Incr(s.ctx, s.key("bytes")).Err(), "ERR value is not an integer or out of range"},
		{c.Do(s.ctx, "SET", s.key("x"), "y", "EX", "0").Err(), "ERR invalid expire time in 'set' command"},
		{c.Do(s.ctx, "VCLOCK", "SET", s.key("x"), "no-context", "y").Err(), "ERR "},
	} {
		if e.err == nil || !strings.HasPrefix(e.err.Error(), e.want) {
			fail("the error is %v, want %s", e.err, e.want)
		}
	}
	if err := c.Do(s.ctx, "LPUSH", s.key("x"), "y").Err(); err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command 'LPUSH'") {
		fail("LPUSH: %v", err)
	}
}
