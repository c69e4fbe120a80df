package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// serve answers one connection per reply on a loopback port, and keeps what the
// clients have sent.
func serve(t *testing.T, reply string) (port int, received func() string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var text strings.Builder // guarded by mu
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, reply)
				sent, _ := io.ReadAll(conn)
				mu.Lock()
				defer mu.Unlock()
				text.Write(sent)
			})
		}
	})
	finish := sync.OnceFunc(func() { l.Close(); wg.Wait() })
	t.Cleanup(finish)
	return l.Addr().(*net.TCPAddr).Port, func() string { finish(); return text.String() }
}

func TestLoadSetsEveryKeyOnce(t *testing.T) {
	port, received := serve(t, strings.Repeat("+OK\r\n", 1000))
	if err := load(t.Context(), port, 500, 1500); err != nil {
		t.Fatal(err)
	}
	text := received()
	for n := 500; n < 1500; n++ {
		command := "*3\r\n$3\r\nSET\r\n$16\r\n" + string(appendKey(nil, n)) + "\r\n$64\r\n" + string(appendValue(nil, n)) + "\r\n"
		if strings.Count(text, command) != 1 {
			t.Fatalf("command %q sent %d times", command, strings.Count(text, command))
		}
	}
	if n := strings.Count(text, "SET"); n != 1000 {
		t.Fatalf("%d commands sent, want 1000", n)
	}
}

func TestLoadReportsAnErrorReply(t *testing.T) {
	port, _ := serve(t, "-MISCONF disk is full\r\n")
	if err := load(t.Context(), port, 0, 10); err == nil || !strings.Contains(err.Error(), "MISCONF") {
		t.Fatalf("got %v", err)
	}
}

func TestVerify(t *testing.T) {
	good := "$64\r\n" + string(appendValue(nil, 0)) + "\r\n"
	for _, c := range []struct{ name, reply, err string }{
		{"right", good, ""},
		{"absent", "$-1\r\n" + strings.Repeat("x", 100), "key 0: reply"},
		{"another value", "$64\r\n" + string(appendValue(nil, 1)) + "\r\n", "key 0: reply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, _ := serve(t, c.reply)
			err := verify(t.Context(), port, 1, 1)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
		})
	}
}

func TestPipelinesEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	port, _ := serve(t, "")
	if err := load(ctx, port, 0, 10); err == nil {
		t.Fatal("no error")
	}
}

func TestValuesHaveTheSizeAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for n := range 1000 {
		value := string(appendValue(nil, n))
		if len(value) != valueSize || seen[value] {
			t.Fatalf("value %d is %q", n, value)
		}
		seen[value] = true
	}
}
