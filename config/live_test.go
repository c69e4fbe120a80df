package config

import (
	"slices"
	"testing"
)

func TestLiveSet(t *testing.T) {
	live := NewLive(Default())
	var seen []string
	live.Subscribe("log.level", func(c *Config) { seen = append(seen, c.Log.Level) })
	if err := live.Set("LOG.LEVEL", "Debug"); err != nil {
		t.Fatal(err)
	}
	if err := live.Set("replication.w", "1"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"info", "debug"}; !slices.Equal(seen, want) {
		t.Errorf("the subscriber saw %v, want %v", seen, want)
	}
	if got := live.Config(); got.Replication.W != "1" || got.Origin("replication.w") != "CONFIG SET" {
		t.Errorf("w is %s from %s", got.Replication.W, got.Origin("replication.w"))
	}
}

func TestLiveSetRefuses(t *testing.T) {
	live := NewLive(Default())
	for _, tc := range []struct{ key, value, want string }{
		{"log.levle", "info", "log.levle (CONFIG SET): unknown key, did you mean log.level?"},
		{"server.listen", ":1", `server.listen = ":1" (CONFIG SET): cannot be changed while the node runs; change it in the file and restart`},
		{"log.level", "loud", `log.level = "loud" (CONFIG SET): not one of the choices; allowed: debug, info, warn, error`},
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
