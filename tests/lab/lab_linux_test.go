package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	inside, code, err := Enter()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		fmt.Fprintln(os.Stderr, "the tests of real networks cannot run:", err)
		code = 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "the tests of real networks DID NOT RUN:", err)
	case inside:
		code = m.Run()
	}
	os.Exit(code)
}

// echo serves on a host: it sends back what it gets.
func echo(t *testing.T, h *Host) (address string) {
	t.Helper()
	var l net.Listener
	var err error
	h.in(func() { l, err = net.Listen("tcp", h.IP+":0") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

// A cut is silent and heals, one way or both; delay is what is asked for; a lossy
// link still carries TCP.
func TestRules(t *testing.T) {
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	h, err := n.Add()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", echo(t, h), Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in, line := bufio.NewReader(conn), ""
	say := func(text string) {
		t.Helper()
		if _, err := fmt.Fprintln(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(within time.Duration) (string, error) {
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		more, err := in.ReadString('\n')
		if line += more; err == nil {
			more, line = line, ""
		}
		return more, err
	}
	expect := func(want string) {
		t.Helper()
		if got, err := hear(Patience); err != nil || got != want+"\n" {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	say("first")
	expect("first")
	for name, cut := range map[string]func(){
		"out":  func() { n.Set(n.Here, h, Rule{Cut: true}) },
		"back": func() { n.Set(h, n.Here, Rule{Cut: true}) },
		"both": func() { n.Around(h, Rule{Cut: true}) },
	} {
		cut()
		say(name)
		if got, err := hear(300 * time.Millisecond); err == nil {
			t.Errorf("cut %s: %q came through", name, got)
		}
		n.Heal()
		expect(name)
	}
	const delay = 150 * time.Millisecond
	n.Set(n.Here, h, Rule{Delay: delay})
	begun := time.Now()
	say("late")
	expect("late")
	if took := time.Since(begun); took < delay {
		t.Errorf("a link with a delay of %v took %v", delay, took)
	}
	n.Around(h, Rule{Loss: 0.2, Delay: time.Millisecond, Jitter: time.Millisecond})
	for i := range 8 {
		say(fmt.Sprint(i))
		expect(fmt.Sprint(i))
	}
}
