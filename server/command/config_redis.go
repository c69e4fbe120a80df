package command

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// redisOption is a setting of Redis's that clients and tools ask for: a view
// of one of ours, or a constant.
type redisOption struct {
	name string
	get  func(c *Ctx) string

	// key is the setting of ours that CONFIG SET changes in its place, if any.
	// from puts a value into our terms; wants is the complaint when it cannot.
	key   string
	from  func(value string) (ours string, ok bool)
	wants string
}

// redisSettings lists them. What is here answers CONFIG GET truthfully: a
// setting that would promise something we do not do is left out.
func redisSettings() []redisOption {
	constant := func(name, value string) redisOption {
		return redisOption{name: name, get: func(*Ctx) string { return value }}
	}
	return []redisOption{
		constant("appendonly", "yes"), // there is always a log
		constant("save", ""),          // and never a snapshot
		constant("databases", strconv.Itoa(Databases)),
		constant("cluster-enabled", "yes"),
		constant("cluster-require-full-coverage", "no"),
		constant("daemonize", "no"),
		constant("maxmemory", "0"),
		constant("maxmemory-policy", "noeviction"),
		constant("notify-keyspace-events", ""),
		constant("proto-inline-max-size", "65536"),
		constant("replica-read-only", "no"),
		constant("unixsocket", ""),
		{name: "appendfsync", get: func(c *Ctx) string { return fsyncName(c.ownSetting("storage.fsync")) }},
		{name: "bind", get: func(c *Ctx) string { return hostOf(c.ownSetting("server.listen")) }},
		{name: "dir", get: func(c *Ctx) string { return c.Env.Info.Dir }},
		{name: "port", get: func(c *Ctx) string { return strconv.Itoa(c.Env.Info.Port) }},
		{name: "proto-max-bulk-len", get: func(c *Ctx) string { return bytesOf(c.ownSetting("server.max_value")) }},
		{name: "maxclients", key: "server.maxclients", get: func(c *Ctx) string { return c.ownSetting("server.maxclients") }},
		{name: "requirepass", key: "server.requirepass", get: func(c *Ctx) string { return c.Env.Password() }},
		{name: "timeout", key: "server.timeout", get: func(c *Ctx) string { return secondsOf(c.ownSetting("server.timeout")) },
			from: fromSeconds, wants: "argument must be between 0 and 2147483647 inclusive"},
	}
}

func redisSetting(name string) *redisOption {
	for _, s := range redisSettings() {
		if s.name == name {
			return &s
		}
	}
	return nil
}

// ownSetting is the value of one of our settings, empty when there is none.
func (c *Ctx) ownSetting(key string) string {
	value, _ := c.setting(key)
	return value
}

// fsyncName is our word for when the log is flushed in Redis's: no for never.
func fsyncName(ours string) string {
	if ours == "never" {
		return "no"
	}
	return ours
}

func hostOf(listen string) string {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "" {
		return "*"
	}
	return host
}

// bytesOf writes a size with a unit, as the configuration prints them, in
// bytes.
func bytesOf(size string) string {
	digits := strings.TrimRight(size, "KMGTiB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return size
	}
	step := int64(1000)
	if strings.Contains(size, "i") {
		step = 1024
	}
	if unit := strings.TrimSpace(size[len(digits):]); unit != "" {
		for range strings.Index("BKMGT", unit[:1]) {
			n *= step
		}
	}
	return strconv.FormatInt(n, 10)
}

func secondsOf(duration string) string {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return "0"
	}
	return strconv.FormatInt(int64(d/time.Second), 10)
}

func fromSeconds(value string) (string, bool) {
	n, err := strconv.ParseUint(value, 10, 31)
	return value + "s", err == nil && strconv.FormatUint(n, 10) == value
}
