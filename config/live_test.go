package config

import (
	"slices"
	"testing"
	"time"
)

func TestLiveSet(t *testing.T) {
	live := NewLive(Default())
	var seen []time.Duration
	live.Subscribe("server.timeout", func(c *Config) { seen = append(seen, c.Server.Timeout) })
	if err := live.Set("SERVER.TIMEOUT", "5s"); err != nil {
		t.Fatal(err)
	}
	if err := live.Set("server.maxclients", "7"); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 5 * time.Second}; !slices.Equal(seen, want) {
		t.Errorf("the subscriber saw %v, want %v", seen, want)
	}
	if got := live.Config(); got.Server.Maxclients != 7 || got.Origin("server.maxclients") != "CONFIG SET" {
		t.Errorf("maxclients %d from %s", got.Server.Maxclients, got.Origin("server.maxclients"))
	}
}

func TestLiveSetRefuses(t *testing.T) {
	live := NewLive(Default())
	for _, tc := range []struct{ key, value, want string }{
		{"server.timeut", "5s", "server.timeut (CONFIG SET): unknown key, did you mean server.timeout?"},
		{"server.listen", ":1", `server.listen = ":1" (CONFIG SET): cannot be changed while the node runs; change it in the file and restart`},
		{"server.timeout", "5", `server.timeout = "5" (CONFIG SET): a duration needs a unit, as in 5ms or 5s; allowed: 0s to 8760h`},
		{"replication.w", "4", `replication.w = "4" (CONFIG SET): more than the 3 copies there are; allowed: up to replication.n = 3`},
	} {
		if got := message(live.Set(tc.key, tc.value)); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
	for _, pair := range live.Get("*") {
		if want := Default().Text(pair[0]); pair[1] != want {
			t.Errorf("%s became %q", pair[0], pair[1])
		}
	}
}

func TestLiveGet(t *testing.T) {
	settings, _, _ := FromArgs([]string{"--server.requirepass=pw", "--cluster.secret=AAAAAAAAAAAAAAAAAAAAAA==", "--server.timeout=1m"})
	c, err := Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	live := NewLive(c)
	for _, tc := range []struct {
		pattern string
		want    [][2]string
	}{
		{"server.requirepass", [][2]string{{"server.requirepass", "pw"}}},
		{"cluster.secret", [][2]string{{"cluster.secret", "********"}}},
		{"*.TIMEOUT", [][2]string{{"server.timeout", "1m"}}},
		{"replication.[rw]", [][2]string{{"replication.r", "quorum"}, {"replication.w", "quorum"}}},
		{"nothing", nil},
		{"[", nil},
	} {
		if got := live.Get(tc.pattern); !slices.Equal(got, tc.want) {
			t.Errorf("Get(%q) = %q, want %q", tc.pattern, got, tc.want)
		}
	}
}
