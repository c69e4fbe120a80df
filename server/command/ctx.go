package command

import (
	"context"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// Ctx is one run of a Local or Wait command. The command appends its reply to
// Out, or sets Err to what the cluster answered; Err wins, and the server words
// it with AppendError.
type Ctx struct {
	Session *Session
	Env     *Env
	Args    [][]byte           // the whole command, names included
	Levels  coordinator.Levels // of this run; zero fields are the session's
	Out     []byte
	Err     error
}

// levels are those the command runs at.
func (c *Ctx) levels() coordinator.Levels { return c.Levels.Or(c.Session.Levels) }

// OK replies +OK.
func (c *Ctx) OK() { c.Out = redcon.AppendOK(c.Out) }

// Int replies an integer.
func (c *Ctx) Int(n int64) { c.Out = redcon.AppendInt(c.Out, n) }

// Bool replies 1 or 0, which is what Redis's older commands do in RESP3 too.
func (c *Ctx) Bool(yes bool) {
	if yes {
		c.Int(1)
	} else {
		c.Int(0)
	}
}

// Bulk replies a string of any bytes.
func (c *Ctx) Bulk(b []byte) { c.Out = redcon.AppendBulk(c.Out, b) }

// BulkString replies a string.
func (c *Ctx) BulkString(s string) { c.Out = redcon.AppendBulkString(c.Out, s) }

// Simple replies a status such as +PONG.
func (c *Ctx) Simple(s string) { c.Out = redcon.AppendString(c.Out, s) }

// Null replies that there is nothing.
func (c *Ctx) Null() { c.Out = resp.AppendNull(c.Out, c.Session.Proto) }

// Array begins an array of n replies.
func (c *Ctx) Array(n int) { c.Out = redcon.AppendArray(c.Out, n) }

// Map begins a map of n pairs, in RESP2 an array of twice as many.
func (c *Ctx) Map(n int) { c.Out = resp.AppendMapHeader(c.Out, c.Session.Proto, n) }

// Set begins a set of n replies, in RESP2 an array.
func (c *Ctx) Set(n int) { c.Out = resp.AppendSetHeader(c.Out, c.Session.Proto, n) }

// Error replies an error; text begins with its code: "ERR syntax error".
func (c *Ctx) Error(text string) { c.Out = redcon.AppendError(c.Out, text) }

// Lines replies an array of status lines, as the HELP subcommands do.
func (c *Ctx) Lines(lines ...string) {
	c.Array(len(lines))
	for _, l := range lines {
		c.Simple(l)
	}
}

// Do runs op on one key with the session's levels and protocol, in database
// db, and waits. args are what op takes for the whole command.
func (c *Ctx) Do(ctx context.Context, op *coordinator.Op, db uint8, key []byte, args ...[]byte) (reply []byte, err error) {
	r := &coordinator.Request{Op: op, DB: db, Key: key, Args: args, Proto: c.Session.Proto, Levels: c.levels()}
	err = c.Env.Cluster.Do(ctx, r)
	return r.Out, err
}
