package config

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Live is the configuration of a running node: what CONFIG GET shows and
// CONFIG SET changes.
type Live struct {
	// setting serialises Set, so that subscribers see the changes in order.
	// It is held while they run; they must not call Set or Subscribe.
	setting     sync.Mutex
	subscribers []subscriber // guarded by setting

	mu     sync.Mutex
	config Config // guarded by mu; copied out, never pointed into
}

type subscriber struct {
	key    string
	notify func(*Config)
}

// NewLive starts from c, which it copies.
func NewLive(c *Config) *Live { return &Live{config: *c.clone()} }

func (c *Config) clone() *Config {
	d := *c
	d.origins = make(map[string]string, len(c.origins))
	maps.Copy(d.origins, c.origins)
	return &d
}

// Config is a copy of the configuration as it is now.
func (l *Live) Config() *Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config.clone()
}

// Subscribe calls notify once now and after each change of key, one call at a
// time, with a configuration that it may keep.
func (l *Live) Subscribe(key string, notify func(*Config)) {
	if _, ok := lookup(key); !ok {
		panic("config: no field " + key)
	}
	l.setting.Lock()
	defer l.setting.Unlock()
	l.subscribers = append(l.subscribers, subscriber{key, notify})
	notify(l.Config())
}

// Get is every key that matches the glob pattern, in the order of the registry,
// with its value. A secret that CONFIG SET may not change is masked.
func (l *Live) Get(pattern string) [][2]string {
	c := l.Config()
	pattern = strings.ToLower(pattern)
	var pairs [][2]string
	for _, f := range Fields() {
		if ok, _ := path.Match(pattern, f.Key); !ok {
			continue
		}
		v := f.at(c).String()
		if !f.Runtime {
			v = f.shown(v)
		}
		pairs = append(pairs, [2]string{f.Key, v})
	}
	return pairs
}

// Set changes key while the node runs and tells its subscribers before it
// returns. Its error is an *Error.
func (l *Live) Set(key, value string) error {
	key = strings.ToLower(key)
	f, ok := lookup(key)
	if !ok {
		return unknownKey(key, "CONFIG SET")
	}
	if !f.Runtime {
		return &Error{Key: key, Value: f.shown(strconv.Quote(value)), Origin: "CONFIG SET",
			Problem: "cannot be changed while the node runs; change it in the file and restart"}
	}
	l.setting.Lock()
	defer l.setting.Unlock()
	next := l.Config()
	if err := next.apply(Setting{Key: key, Value: value, Origin: "CONFIG SET"}); err != nil {
		return err
	}
	if mistakes := next.contradictions(); len(mistakes) > 0 {
		return mistakes[0]
	}
	l.mu.Lock()
	l.config = *next
	l.mu.Unlock()
	for _, s := range l.subscribers {
		if s.key == key {
			s.notify(next.clone())
		}
	}
	return nil
}

// Describe is one line per key: value and origin, secrets masked.
func (c *Config) Describe() []string {
	var lines []string
	for _, f := range Fields() {
		lines = append(lines, fmt.Sprintf("%s = %s  # %s", f.Key, f.shown(f.at(c).toml()), c.Origin(f.Key)))
	}
	return lines
}
