package version

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A token is the printable form of a context, base64url without padding of
//
//	version 1 byte | cluster id 8 | key hash 8 | context | xxhash64 of the rest 8
//
// where the context is laid out as in the full form of an object, version 1, or
// as in the dotted form, version 2. It is bound to
// a cluster and a key, because the context of another key would cover values it
// has never seen. The checksum finds accidents, and is no signature: whoever may
// write a key may replace its values anyhow.
const (
	tokenFull   = 1
	tokenDotted = 2
	tokenHead   = 1 + 8 + 8
	tokenMin    = tokenHead + 8 + 1 + 8

	// MaxToken is the size of the longest token that is read.
	MaxToken = (tokenMin+2*(2+MaxDecodeEntries*dotSize))*4/3 + 3
)

var (
	// ErrContextForeign refuses a token of another cluster or another key.
	ErrContextForeign = errors.New("context belongs to another key or cluster")
	// ErrContextDamaged refuses what is not a token, or no longer.
	ErrContextDamaged = errors.New("context is damaged")
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// EncodeToken returns c as a token of a cluster and a key.
func (c *Context) EncodeToken(clusterID, keyHash uint64) string {
	raw := make([]byte, 0, tokenMin+4+(len(c.Entries)+len(c.Dots))*dotSize)
	if len(c.Dots) == 0 {
		raw = append(raw, tokenFull)
	} else {
		raw = append(raw, tokenDotted)
	}
	raw = binary.BigEndian.AppendUint64(raw, clusterID)
	raw = binary.BigEndian.AppendUint64(raw, keyHash)
	raw = c.append(raw)
	raw = binary.BigEndian.AppendUint64(raw, xxhash.Sum64(raw))
	return tokenEncoding.EncodeToString(raw)
}

// ParseToken makes c the context of a token, which must be of this cluster and
// this key. The empty token is the empty context, which covers nothing. After an
// error, which wraps ErrContextForeign or ErrContextDamaged, c is empty.
func (c *Context) ParseToken(token []byte, clusterID, keyHash uint64) error {
	if len(token) == 0 {
		c.Reset()
		return nil
	}
	cluster, hash, err := c.DecodeToken(token)
	if err != nil {
		return err
	}
	if cluster != clusterID || hash != keyHash {
		c.Reset()
		return ErrContextForeign
	}
	return nil
}

// DecodeToken makes c the context of a token and returns what it is bound to,
// for comparing contexts of a key that is not named.
func (c *Context) DecodeToken(token []byte) (clusterID, keyHash uint64, err error) {
	c.Reset()
	if len(token) > MaxToken {
		return 0, 0, fmt.Errorf("%w: too long", ErrContextDamaged)
	}
	raw, err := tokenEncoding.AppendDecode(nil, token)
	// The decoder skips line breaks, which no token has.
	if err != nil || tokenEncoding.EncodedLen(len(raw)) != len(token) {
		return 0, 0, fmt.Errorf("%w: not base64url", ErrContextDamaged)
	}
	if len(raw) < tokenMin {
		return 0, 0, fmt.Errorf("%w: too short", ErrContextDamaged)
	}
	body, sum := raw[:len(raw)-8], raw[len(raw)-8:]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(sum) {
		return 0, 0, fmt.Errorf("%w: checksum", ErrContextDamaged)
	}
	if body[0] != tokenFull && body[0] != tokenDotted {
		return 0, 0, fmt.Errorf("%w: version %d", ErrContextDamaged, body[0])
	}
	rest, err := c.decode(body[tokenHead:], body[0] == tokenDotted)
	if err != nil || len(rest) > 0 {
		c.Reset()
		return 0, 0, fmt.Errorf("%w: contents", ErrContextDamaged)
	}
	return binary.BigEndian.Uint64(body[1:]), binary.BigEndian.Uint64(body[9:]), nil
}
