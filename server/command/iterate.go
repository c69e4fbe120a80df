package command

import (
	"context"
	"math/rand/v2"
	"strconv"

	"github.com/tidwall/redcon"

	"kvstore/resp"
)

const (
	// scanCount is how many keys a page of SCAN has when COUNT is not given.
	scanCount = 10
	// maxScanCount bounds what one page costs, whatever COUNT asks for.
	maxScanCount = 1 << 16
	// keysPage is how many keys KEYS reads at once.
	keysPage = 1000
	// tokenBits is the size of a cursor: a cursor is a token.
	tokenBits = 62
)

// scanOptions is what SCAN was asked for.
type scanOptions struct {
	cursor  uint64
	count   int
	pattern []byte // nil matches all
	other   bool   // only keys of a type that does not exist here
}

// parse reads SCAN's arguments. The text is of the error, empty if there is
// none.
func (o *scanOptions) parse(args [][]byte) (text string) {
	var err error
	if o.cursor, err = strconv.ParseUint(string(args[1]), 10, 64); err != nil {
		return resp.ErrTextInvalidCursor
	}
	o.count = scanCount
	for i := 2; i < len(args); i += 2 {
		if i+1 == len(args) {
			return resp.ErrTextSyntax
		}
		switch value := args[i+1]; {
		case equalFold(args[i], "match"):
			o.pattern = value
		case equalFold(args[i], "count"):
			n, ok := resp.ParseInt64(value)
			if !ok {
				return resp.ErrTextNotInteger
			}
			if n < 1 {
				return resp.ErrTextSyntax
			}
			o.count = int(min(n, maxScanCount))
		case equalFold(args[i], "type"):
			o.other = !equalFold(value, "string")
		default:
			return resp.ErrTextSyntax
		}
	}
	return ""
}

func runScan(ctx context.Context, c *Ctx) {
	var o scanOptions
	if text := o.parse(c.Args); text != "" {
		c.Error(text)
		return
	}
	var page ScanPage
	// There is nothing at such cursors, and nothing of other types.
	if o.cursor < 1<<tokenBits && !o.other {
		var err error
		page, err = c.scan(ctx, o.cursor, o.count)
		if err != nil {
			c.Err = err
			return
		}
	}
	c.Array(2)
	c.BulkString(strconv.FormatUint(page.Cursor, 10))
	body, n := appendMatching(nil, page.Keys, o.pattern)
	c.Array(n)
	c.Out = append(c.Out, body...)
}

func (c *Ctx) scan(ctx context.Context, cursor uint64, count int) (ScanPage, error) {
	return c.Env.Cluster.Scan(ctx, ScanQuery{DB: c.Session.DB, Cursor: cursor, Count: count, Slot: -1, Levels: c.levels()})
}

// appendMatching appends the keys that match, which are n.
func appendMatching(dst []byte, keys [][]byte, pattern []byte) (_ []byte, n int) {
	for _, k := range keys {
		if pattern == nil || resp.Match(pattern, k) {
			dst = redcon.AppendBulk(dst, k)
			n++
		}
	}
	return dst, n
}

func runKeys(ctx context.Context, c *Ctx) {
	var body []byte
	total := 0
	for cursor := uint64(0); ; {
		page, err := c.scan(ctx, cursor, keysPage)
		if err != nil {
			c.Err = err
			return
		}
		var n int
		body, n = appendMatching(body, page.Keys, c.Args[1])
		total += n
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	c.Array(total)
	c.Out = append(c.Out, body...)
}

// runRandomKey takes the first key from a random token on. Tokens of keys are
// hashes, so that is nearly a fair draw, except among keys of one hash tag.
func runRandomKey(ctx context.Context, c *Ctx) {
	start := rand.Uint64N(1 << tokenBits)
	cursor, wrapped := start, false
	for {
		page, err := c.scan(ctx, cursor, 1)
		if err != nil {
			c.Err = err
			return
		}
		if len(page.Keys) > 0 {
			c.Bulk(page.Keys[0])
			return
		}
		cursor = page.Cursor
		if wrapped && (cursor == 0 || cursor > start) {
			c.Null()
			return
		}
		wrapped = wrapped || cursor == 0
	}
}
