package server

import (
	"strings"
	"testing"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// holder is a pipe on which replies may wait, until late is set.
type holder struct {
	pipe
	asked int
	late  bool
}

func (h *holder) Hold() bool {
	h.asked++
	return !h.late
}

// holding makes a connection to a server whose cluster keeps all requests.
func holding(t *testing.T) (f *fakeCluster, h *holder) {
	t.Helper()
	f = newFake()
	s, _ := open(t, f, Options{})
	h = &holder{}
	h.posted = make(chan resp.Work, 1<<10)
	h.session = s.Open(h)
	f.hold = func(*coordinator.Request) bool { return true }
	return f, h
}

func TestRepliesOfAPacketLeaveTogether(t *testing.T) {
	f, h := holding(t)
	packet := cmd("SET", "a", "1") + cmd("SET", "b", "2") + cmd("SET", "c", "3")
	if out := h.send(packet); out != "" {
		t.Fatalf("%q before anything was done", out)
	}
	f.release(0)
	if out := h.take(); out != "" {
		t.Errorf("%q went without the rest of its packet", out)
	}
	if out := h.send(cmd("SET", "d", "4")); out != "" {
		t.Errorf("%q went without the rest of its packet", out)
	}
	f.release(0)
	f.release(0)
	if out := h.take(); out != strings.Repeat("+OK\r\n", 3) {
		t.Errorf("%q, want the replies to the first packet, whatever came behind", out)
	}
	f.release(0)
	if out := h.take(); out != "+OK\r\n" {
		t.Errorf("%q, want the reply to the second packet", out)
	}
	if asked := h.asked; h.take() != "" || h.asked != asked {
		t.Error("something is held when everything is answered")
	}
}

func TestRepliesDoNotWaitForLong(t *testing.T) {
	f, h := holding(t)
	h.send(cmd("SET", "a", "1") + cmd("SET", "b", "2") + cmd("SET", "c", "3"))
	f.release(0)
	h.take()
	h.late = true
	if out := h.take(); out != "+OK\r\n" {
		t.Errorf("%q, want what is there", out)
	}
	h.late = false
	f.release(0)
	if out := h.take(); out != "" {
		t.Errorf("%q went without the rest", out)
	}
	f.release(0)
	if out := h.take(); out != strings.Repeat("+OK\r\n", 2) {
		t.Errorf("%q, want the rest", out)
	}
}

// What is behind a command that is not begun yet may depend on what the client does
// with the replies that are there.
func TestRepliesDoNotWaitForWhatIsNotBegun(t *testing.T) {
	f, h := holding(t)
	h.send(cmd("SET", "a", "1") + cmd("SET", "b", "2") + cmd("GET", "b"))
	f.release(0)
	if out := h.take(); out != "+OK\r\n" || h.asked != 0 {
		t.Errorf("%q, asked %d times", out, h.asked)
	}
	f.release(0)
	h.take()
	f.release(0)
	h.take()
}

func TestLargeRepliesDoNotWait(t *testing.T) {
	f, h := holding(t)
	f.hold = nil
	h.send(cmd("SET", "a", strings.Repeat("x", heldMost)))
	f.hold = func(r *coordinator.Request) bool { return string(r.Key) == "b" }
	if out := h.send(cmd("GET", "a") + cmd("GET", "b")); len(out) < heldMost {
		t.Errorf("%d bytes, want the large reply", len(out))
	}
	f.release(0)
	if out := h.take(); out != "$-1\r\n" {
		t.Errorf("%q, want nil", out)
	}
}
