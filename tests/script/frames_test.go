package script

import (
	"fmt"
	"strings"
	"testing"

	"kvstore/tests/process"
)

func TestMain(m *testing.M) { process.Main(m) }

const (
	password = "correct-horse"
	mebi     = 1 << 20
)

// What is no frame of the protocol is answered as Redis does and the connection is
// closed. Before AUTH the limits are much smaller.
func TestMalformedFrames(t *testing.T) {
	n := process.Single(t, "server.requirepass="+password, "server.max_value=1MiB")
	for _, c := range []struct{ name, in, before, after string }{
		{"a billion arguments", "*1000000000\r\n", "unauthenticated multibulk length", "invalid multibulk length"},
		{"eleven arguments", "*11\r\n", "unauthenticated multibulk length", ""},
		{"a length that is no number", "*many\r\n", "invalid multibulk length", "invalid multibulk length"},
		{"a negative argument", "*1\r\n$-4\r\n", "invalid bulk length", "invalid bulk length"},
		{"an argument of 100 GB", "*2\r\n$3\r\nGET\r\n$99999999999\r\n", "invalid bulk length", "invalid bulk length"},
		{"an argument of 20 kB", "*2\r\n$3\r\nGET\r\n$20000\r\n", "unauthenticated bulk length", ""},
		{"an argument over the limit", "*2\r\n$3\r\nGET\r\n$1048577\r\n", "invalid bulk length", "invalid bulk length"},
		{"no argument where one is due", "*1\r\n+PING\r\n", "expected '$', got '+'", "expected '$', got '+'"},
		{"a line without an end", strings.Repeat("a", 70000), "too big inline request", "too big inline request"},
		{"quotes without an end", "SET \"a\r\n", "unbalanced quotes in request", "unbalanced quotes in request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for authenticated, want := range map[bool]string{false: c.before, true: c.after} {
				conn := process.Dial(t, n.Client)
				if authenticated {
					conn.Expect("AUTH "+password, "OK")
				}
				if err := conn.Raw(c.in); err != nil {
					t.Fatal(err)
				}
				if want == "" { // the beginning of a command like any other
					conn.Close()
					continue
				}
				if got, err := conn.Reply(); err != nil || got != "-ERR Protocol error: "+want {
					t.Errorf("authenticated %v: %q %v", authenticated, got, err)
				}
				if !conn.Closed() {
					t.Errorf("authenticated %v: the connection stays open", authenticated)
				}
			}
		})
	}
}

// A frame may come byte by byte, and half of one harms nobody else.
func TestHalfSentFrames(t *testing.T) {
	n := process.Single(t)
	half := process.Dial(t, n.Client)
	if err := half.Raw("*3\r\n$3\r\nSET\r\n$4\r\nha"); err != nil {
		t.Fatal(err)
	}
	other := process.Dial(t, n.Client)
	for _, b := range process.Encode("SET", "slow", "bytes") {
		if err := other.Raw(string(b)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := other.Reply(); err != nil || got != "OK" {
		t.Errorf("a frame in bytes: %s %v", got, err)
	}
	other.Expect("GET half", "(nil)")
	if err := half.Raw("lf\r\n$4\r\nsent\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := half.Reply(); err != nil || got != "OK" {
		t.Errorf("the other half: %s %v", got, err)
	}
	other.Expect("GET half", "sent")
}

// Two hundred strangers who each send as much of a frame as they may, and go on,
// cost little memory; nor does one who was let in and declares a large value cost
// anything before it is sent.
func TestEndlessFramesAreBounded(t *testing.T) {
	n := process.Single(t, "server.requirepass="+password)
	before := n.Memory()
	endless := "*10\r\n" + strings.Repeat("$16384\r\n"+strings.Repeat("x", 16384)+"\r\n", 9) + "$16384\r\n"
	for range 200 {
		if err := process.Dial(t, n.Client).Raw(endless); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		c := process.Dial(t, n.Client)
		c.Expect("AUTH "+password, "OK")
		if err := c.Raw("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbeginning"); err != nil {
			t.Fatal(err)
		}
	}
	process.Dial(t, n.Client).Expect("AUTH "+password, "OK")
	grown := n.Memory() - before
	t.Logf("400 half frames cost %d MiB", grown/mebi)
	if grown > 256*mebi {
		t.Errorf("400 half frames cost %d MiB", grown/mebi)
	}
}

func TestValueOverLimit(t *testing.T) {
	n := process.Single(t, "server.max_value=1MiB")
	c := process.Dial(t, n.Client)
	if got := c.Do("SET", "k", strings.Repeat("x", mebi)); got != "OK" {
		t.Fatalf("a value of the limit: %s", got)
	}
	big := process.Dial(t, n.Client)
	if err := big.Raw(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", mebi+1)); err != nil {
		t.Fatal(err)
	}
	if got, err := big.Reply(); err != nil || got != "-ERR Protocol error: invalid bulk length" || !big.Closed() {
		t.Errorf("a value over the limit: %s %v", got, err)
	}
	if got := c.Do("STRLEN", "k"); got != fmt.Sprint(mebi) {
		t.Errorf("the value has become %s bytes", got)
	}
	for _, grow := range []string{"SETRANGE k 1048576 x", "APPEND k x"} {
		c.Expect(grow, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	}
	c.Expect("SETRANGE k 1048575 y", fmt.Sprint(mebi))
	c.Expect("APPEND other x", "1")
	if got := c.Do("SET", strings.Repeat("k", 70000), "x"); !strings.HasPrefix(got, "-ERR key of ") {
		t.Errorf("a key of 70,000 bytes: %s", got)
	}
}
