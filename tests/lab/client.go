package lab

import (
	"errors"
	"time"
)

// Client is connected to one of several servers, and to the next when that fails. It
// repeats nothing.
type Client struct {
	Addresses []string
	At        int // which of them, counted on and on
	// DialWithin and ReplyWithin bound the time of a connection and of a request.
	DialWithin, ReplyWithin time.Duration

	conn *Conn
}

func (c *Client) String() string { return c.Addresses[c.At%len(c.Addresses)] }

// Close closes the connection, if there is one.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Do sends a command and returns the reply. An error reply is an error too.
func (c *Client) Do(args ...string) (reply Reply, err error) {
	for tries := 0; c.conn == nil; tries++ {
		if c.conn, err = Dial(c.String(), c.DialWithin); err != nil {
			if c.At++; tries == len(c.Addresses) {
				return reply, err
			}
		}
	}
	if reply, err = c.conn.Do(c.ReplyWithin, args...); err != nil {
		c.Close()
		c.At++
		return reply, err
	}
	if reply.Error {
		err = errors.New(reply.Text)
	}
	return reply, err
}
