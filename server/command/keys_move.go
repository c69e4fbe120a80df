package command

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"kvstore/cluster/coordinator"
	"kvstore/resp"
)

// mover runs the commands that read one key and write another. Every step is
// atomic on its key; between steps others may read and write.
//
// RENAME reads the old key, writes the new one, and deletes the old one only
// if it still holds what was read: a value that another client wrote meanwhile
// stays, as if it had been written after the rename. When the node dies on the
// way both keys exist; a value is never lost.
type mover struct {
	// fetch replies the key whole. It is run as a write, which writes nothing,
	// so that it sees what the key's soft primary does.
	fetch *coordinator.Op
	// store writes a value with a deadline: store value deadline [nx].
	store *coordinator.Op
	// drop deletes the key if it is still as it was fetched: drop fetched.
	drop *coordinator.Op
}

func newMover() *mover {
	return &mover{
		fetch: &coordinator.Op{Name: "move-fetch", Write: true, Run: runFetch},
		store: &coordinator.Op{Name: "move-store", Write: true, Run: runStore,
			Depends: func(args [][]byte) bool { return len(args) > 3 }},
		drop: &coordinator.Op{Name: "move-drop", Write: true, Run: runDrop},
	}
}

func (m *mover) ops() []*coordinator.Op { return []*coordinator.Op{m.fetch, m.store, m.drop} }

// appendFetched is a key whole: nothing when it does not exist, otherwise
//
//	deadline, 8 bytes big endian ‖ value
func appendFetched(dst []byte, c *coordinator.Call) []byte {
	if !c.Exists {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Deadline))
	return append(dst, c.Value...)
}

func parseFetched(b []byte) (value []byte, deadline int64, exists bool) {
	if len(b) < 8 {
		return nil, 0, false
	}
	return b[8:], int64(binary.BigEndian.Uint64(b)), true
}

func runFetch(c *coordinator.Call) { c.Out = appendFetched(c.Out, c) }

func runStore(c *coordinator.Call) {
	deadline, ok := resp.ParseInt64(c.Args[2])
	if !ok {
		replyError(c, resp.ErrTextNotInteger)
		return
	}
	if len(c.Args) > 3 && c.Exists {
		replyBool(c, false)
		return
	}
	c.Put(c.Args[1], deadline)
	replyBool(c, true)
}

func runDrop(c *coordinator.Call) {
	value, deadline, exists := parseFetched(c.Args[1])
	same := exists && c.Exists && c.Deadline == deadline && bytes.Equal(c.Value, value)
	if same {
		c.Remove()
	}
	replyBool(c, same)
}

// put stores a fetched key under another name, and reports false when nx kept
// it from replacing one.
func (m *mover) put(ctx context.Context, c *Ctx, db uint8, key, fetched []byte, nx bool) (bool, error) {
	value, deadline, _ := parseFetched(fetched)
	args := [][]byte{[]byte(m.store.Name), value, strconv.AppendInt(nil, deadline, 10)}
	if nx {
		args = append(args, []byte("nx"))
	}
	reply, err := c.Do(ctx, m.store, db, key, args...)
	if err != nil {
		return false, err
	}
	stored, ok := replyNumber(reply)
	if !ok {
		return false, errors.New("a node answered " + strconv.Quote(string(reply)))
	}
	return stored == 1, nil
}

func (m *mover) rename(ctx context.Context, c *Ctx) {
	if moved, ok := m.move(ctx, c, false); ok && moved {
		c.OK()
	}
}

func (m *mover) renameNX(ctx context.Context, c *Ctx) {
	if moved, ok := m.move(ctx, c, true); ok {
		c.Bool(moved)
	}
}

// move renames Args[1] to Args[2] and reports whether it did. It is not ok when
// the reply, an error, was already made.
func (m *mover) move(ctx context.Context, c *Ctx, nx bool) (moved, ok bool) {
	from, to, db := c.Args[1], c.Args[2], c.Session.DB
	fetched, err := c.Do(ctx, m.fetch, db, from, []byte(m.fetch.Name))
	if err != nil {
		c.Err = err
		return false, false
	}
	if _, _, exists := parseFetched(fetched); !exists {
		c.Error(resp.ErrTextNoSuchKey)
		return false, false
	}
	if bytes.Equal(from, to) {
		return !nx, true
	}
	if moved, err = m.put(ctx, c, db, to, fetched, nx); err != nil || !moved {
		c.Err = err
		return false, err == nil
	}
	if _, err := c.Do(ctx, m.drop, db, from, []byte(m.drop.Name), fetched); err != nil {
		c.Out = appendPartial(c.Out, err)
		return false, false
	}
	return true, true
}

func (m *mover) copy(ctx context.Context, c *Ctx) {
	db, replace, text := parseCopy(c.Args[3:], c.Session.DB)
	switch {
	case text != "":
		c.Error(text)
		return
	case db == c.Session.DB && bytes.Equal(c.Args[1], c.Args[2]):
		c.Error(resp.ErrTextSameObject)
		return
	}
	fetched, err := c.Do(ctx, m.fetch, c.Session.DB, c.Args[1], []byte(m.fetch.Name))
	if err != nil {
		c.Err = err
		return
	}
	if _, _, exists := parseFetched(fetched); !exists {
		c.Bool(false)
		return
	}
	copied, err := m.put(ctx, c, db, c.Args[2], fetched, !replace)
	if err != nil {
		c.Err = err
		return
	}
	c.Bool(copied)
}

// parseCopy reads COPY's options. The text is of the error, empty if there is
// none.
func parseCopy(args [][]byte, current uint8) (db uint8, replace bool, text string) {
	db = current
	for i := 0; i < len(args); i++ {
		switch {
		case equalFold(args[i], "replace"):
			replace = true
		case equalFold(args[i], "db") && i+1 < len(args):
			i++
			if db, text = parseDB(args[i]); text != "" {
				return 0, false, text
			}
		default:
			return 0, false, resp.ErrTextSyntax
		}
	}
	return db, replace, ""
}

// parseDB reads the number of a database. The text is of the error, empty if
// there is none; Redis tells a number of more than 32 bits from one that is
// merely no database.
func parseDB(arg []byte) (db uint8, text string) {
	n, ok := resp.ParseInt64(arg)
	switch {
	case !ok:
		return 0, resp.ErrTextNotInteger
	case n < math.MinInt32 || n > math.MaxInt32:
		return 0, "ERR value is out of range, value must between -2147483648 and 2147483647"
	case n < 0 || n >= Databases:
		return 0, resp.ErrTextDBIndex
	}
	return uint8(n), ""
}
