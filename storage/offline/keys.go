package offline

import (
	"fmt"
	"strconv"

	"kvstore/storage/key"
)

// tokenBits is how many bits of a token lie below its slot.
const tokenBits = key.TokenBits - 14

// Key describes an engine key to people: a user's key by its slot, token, database and name, a system key by its space
// and name, and a bound that is neither by its bytes.
func Key(k []byte) string {
	token, db, name, err := key.ParseUser(k)
	switch {
	case err == nil:
		return fmt.Sprintf("slot %d token %016x db %d %s", token>>tokenBits, token, db, quote(name))
	case len(k) == 0:
		return "the first key"
	case allOnes(k):
		return "the last key"
	case k[0] >= key.FirstSpace:
		return fmt.Sprintf("system space %02x %s", k[0], quote(k[1:]))
	case len(k) >= 8:
		var t uint64
		for _, b := range k[:8] {
			t = t<<8 | uint64(b)
		}
		return fmt.Sprintf("slot %d token %016x behind it %x", t>>tokenBits, t, k[8:])
	}
	return fmt.Sprintf("bytes %x", k)
}

func allOnes(k []byte) bool {
	for _, b := range k {
		if b != 0xff {
			return false
		}
	}
	return true
}

// longestShown bounds how much of a name or value is printed.
const longestShown = 80

func quote(b []byte) string {
	if len(b) > longestShown {
		return strconv.Quote(string(b[:longestShown])) + fmt.Sprintf("... (%d bytes)", len(b))
	}
	return strconv.Quote(string(b))
}
