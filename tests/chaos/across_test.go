package chaos

import (
	"strings"
	"testing"
	"time"
)

// seen is a read through a node that found a value.
func seen(node, value string) op {
	o := get(value)
	o.node = node
	return o
}

func TestCheckSeen(t *testing.T) {
	during := func(o op, call, end time.Duration) op {
		o.call, o.end = call, end
		return o
	}
	for _, c := range []struct {
		name, kind string
		ops        []op
		want       string // part of the violation
	}{
		{"the last one", "local", []op{set("1", acknowledged), set("2", acknowledged), seen("e1", "2")}, ""},
		{"an older one", "local", []op{set("1", acknowledged), set("2", acknowledged), seen("e1", "1")}, "stale: 2"},
		{"nothing", "local", []op{set("1", acknowledged), seen("e1", "")}, "stale: 1"},
		{"nothing, before all", "local", []op{seen("e1", ""), set("1", acknowledged)}, ""},
		{"before one of unknown outcome", "local", []op{set("1", acknowledged), set("2", unknown), seen("e1", "1")}, ""},
		{"one of unknown outcome", "local", []op{set("1", acknowledged), set("2", unknown), seen("e1", "2")}, ""},
		{"what was refused", "local", []op{set("1", refused), seen("e1", "1")}, "nobody wrote"},
		{"what nobody wrote", "local", []op{set("1", acknowledged), seen("e1", "2")}, "nobody wrote"},
		{"what is written later", "local", []op{seen("e1", "1"), set("1", acknowledged)}, "nobody wrote"},
		{"back", "each", []op{set("1", acknowledged), set("2", unknown), seen("e1", "2"), seen("e2", "1")}, "goes back"},
		{"back, where that is not promised", "local", []op{set("1", acknowledged), set("2", unknown), seen("e1", "2"), seen("e2", "1")}, ""},
		{"an older one in another data centre", "each", []op{set("1", acknowledged), set("2", unknown), seen("e1", "2"), seen("w1", "1")}, ""},
		{"an older one at the same time", "each", []op{set("1", acknowledged), set("2", unknown),
			during(seen("e1", "2"), 5*time.Second, 8*time.Second), during(seen("e2", "1"), 6*time.Second, 7*time.Second)}, ""},
	} {
		history := script(c.ops...)
		for _, o := range history {
			o.key = c.kind + ":east:0"
		}
		err := checkSeen(history)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
