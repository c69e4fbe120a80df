package process

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Conn is a connection to a node. Everything fails after patience.
type Conn struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

// Dial connects to an address; the connection is closed with the test.
func Dial(t testing.TB, address string) *Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &Conn{Conn: c, in: bufio.NewReader(c), t: t}
}

// TryDial is Dial that returns the error, and leaves it to the caller to close the connection.
func TryDial(t testing.TB, address string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, in: bufio.NewReader(c), t: t}, nil
}

// Try sends a command and returns the reply as text: see reply. An error is one of
// the connection, not of the command.
func (c *Conn) Try(args ...string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, Encode(args...)); err != nil {
		return "", err
	}
	return c.Reply()
}

// Do is Try that fails the test when the connection does.
func (c *Conn) Do(args ...string) string {
	c.t.Helper()
	got, err := c.Try(args...)
	if err != nil {
		c.t.Fatalf("%.100q: %v", args, err)
	}
	return got
}

// Expect sends a command of words separated by blanks and compares the reply.
func (c *Conn) Expect(command, want string) {
	c.t.Helper()
	if got := c.Do(strings.Fields(command)...); got != want {
		c.t.Errorf("%s: %q, want %q", command, got, want)
	}
}

// ExpectPrefix is Expect for the beginning of the reply.
func (c *Conn) ExpectPrefix(command, want string) {
	c.t.Helper()
	if got := c.Do(strings.Fields(command)...); !strings.HasPrefix(got, want) {
		c.t.Errorf("%s: %q, want %q at the beginning", command, got, want)
	}
}

// Raw writes bytes as they are.
func (c *Conn) Raw(bytes string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c, bytes)
	return err
}

// Reply reads one reply. Strings and numbers are themselves, nil is (nil), an error
// begins with "-", an array is its elements in brackets.
func (c *Conn) Reply() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "-" + rest, nil
	}
	size, err := strconv.Atoi(rest)
	switch {
	case err != nil:
		return "", fmt.Errorf("a reply of %q", line)
	case size < 0:
		return "(nil)", nil
	case kind == '$':
		b := make([]byte, size+2)
		_, err := io.ReadFull(c.in, b)
		return string(b[:size]), err
	case kind != '*':
		return "", fmt.Errorf("a reply of %q", line)
	}
	parts := make([]string, size)
	for i := range parts {
		if parts[i], err = c.Reply(); err != nil {
			return "", err
		}
	}
	return "[" + strings.Join(parts, " ") + "]", nil
}

// Closed reports whether the server has closed the connection; it waits for that.
func (c *Conn) Closed() bool {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return true
	}
	_, err := io.Copy(io.Discard, c.in)
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}

// Encode is a command as clients send it.
func Encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}
