package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Conn is a client's connection.
type Conn struct {
	socket net.Conn
	in     *bufio.Reader
	out    []byte
}

// Reply is a reply of a server.
type Reply struct {
	Nil   bool
	Error bool   // Text is the error, from its first word
	Text  string // of a string, or the digits of a number
	Items []Reply
}

// Is reports whether the reply is an error of a class, such as "TIMEOUT".
func (r Reply) Is(class string) bool {
	word, _, _ := strings.Cut(r.Text, " ")
	return r.Error && word == class
}

// Dial connects within a time.
func Dial(address string, within time.Duration) (*Conn, error) {
	socket, err := net.DialTimeout("tcp", address, within)
	if err != nil {
		return nil, err // names operation and address already
	}
	return &Conn{socket: socket, in: bufio.NewReader(socket)}, nil
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.socket.Close() }

// Do sends a command and returns the reply, within a time. After an error the
// connection is of no use, and whether the command ran is unknown.
func (c *Conn) Do(within time.Duration, args ...string) (Reply, error) {
	if err := c.socket.SetDeadline(time.Now().Add(within)); err != nil {
		return Reply{}, err
	}
	c.out = fmt.Appendf(c.out[:0], "*%d\r\n", len(args))
	for _, a := range args {
		c.out = fmt.Appendf(c.out, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.socket.Write(c.out); err != nil {
		return Reply{}, err
	}
	return c.reply()
}

func (c *Conn) reply() (Reply, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return Reply{}, err
	}
	text := strings.TrimSuffix(line[1:], "\r\n")
	switch line[0] {
	case '+', ':':
		return Reply{Text: text}, nil
	case '-':
		return Reply{Error: true, Text: text}, nil
	}
	size, err := strconv.Atoi(text)
	switch {
	case err != nil || line[0] != '$' && line[0] != '*':
		return Reply{}, fmt.Errorf("a reply of %q", line)
	case size < 0:
		return Reply{Nil: true}, nil
	case line[0] == '$':
		b := make([]byte, size+2)
		_, err := io.ReadFull(c.in, b)
		return Reply{Text: string(b[:size])}, err
	}
	r := Reply{Items: make([]Reply, size)}
	for i := range r.Items {
		if r.Items[i], err = c.reply(); err != nil {
			return Reply{}, err
		}
	}
	return r, nil
}
