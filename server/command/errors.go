package command

import (
	"context"
	"errors"

	"github.com/tidwall/redcon"

	"kvstore/cluster/coordinator"
)

// The first word of an error is its class, which clients may act on. A request
// that was refused has written nothing, and a read nothing to begin with, so the
// word is right for both.
var clusterErrors = [...]struct {
	err  error
	text string
}{
	{coordinator.ErrNoQuorum, "NOQUORUM refused: "},
	{coordinator.ErrLevel, "NOQUORUM refused: "},
	{coordinator.ErrTimeout, "TIMEOUT "},
	{context.DeadlineExceeded, "TIMEOUT the outcome is unknown: "},
	{context.Canceled, "TIMEOUT the outcome is unknown: "},
	{coordinator.ErrOverloaded, "OVERLOADED refused: "},
	{coordinator.ErrSlow, "OVERLOADED refused: "},
	{coordinator.ErrFull, "MISCONF refused: "},
	{coordinator.ErrReadOnly, "MISCONF refused: "},
	{coordinator.ErrNotReady, "CLUSTERDOWN "},
	{coordinator.ErrCorrupt, "CORRUPT "},
	{coordinator.ErrTooManySiblings, "ERR "},
}

// AppendError appends what a client is told of a request's error. Errors of
// kinds unknown to it become ERR and their own text.
func AppendError(out []byte, err error) []byte {
	for _, e := range clusterErrors {
		if errors.Is(err, e.err) {
			return redcon.AppendError(out, e.text+err.Error())
		}
	}
	return redcon.AppendError(out, "ERR "+err.Error())
}

// longestEcho bounds how much of a stranger's command an error repeats.
const longestEcho = 128

// AppendUnknownCommand appends the error for a command that is not in the
// table, which repeats the beginning of what was sent.
func AppendUnknownCommand(out []byte, args [][]byte) []byte {
	text := append([]byte("ERR unknown command '"), echo(args[0])...)
	text = append(text, "', with args beginning with: "...)
	begin := len(text)
	for _, a := range args[1:] {
		room := longestEcho - (len(text) - begin)
		if room <= 0 {
			break
		}
		text = append(text, '\'')
		text = append(text, a[:min(len(a), room)]...)
		text = append(text, "' "...)
	}
	return redcon.AppendError(out, printable(text))
}

func appendUnknownSubcommand(out []byte, c *Command, name []byte) []byte {
	text := append([]byte("ERR unknown subcommand '"), echo(name)...)
	text = append(text, "'. Try "...)
	text = append(text, upper(c.Name)...)
	return redcon.AppendError(out, printable(append(text, " HELP."...)))
}

// AppendArityError appends the error for a wrong number of arguments.
func AppendArityError(out []byte, c *Command) []byte {
	return redcon.AppendError(out, "ERR wrong number of arguments for '"+c.FullName()+"' command")
}

func echo(b []byte) []byte { return b[:min(len(b), longestEcho)] }

// printable keeps line ends out of a reply that a line end terminates.
func printable(text []byte) string {
	for i, b := range text {
		if b == '\r' || b == '\n' {
			text[i] = ' '
		}
	}
	return string(text)
}
