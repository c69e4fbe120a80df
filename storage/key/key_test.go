package key

import (
	"bytes"
	"fmt"
	"testing"
)

func TestLayout(t *testing.T) {
	if got := fmt.Sprintf("% x", AppendUser(nil, 0x1234, 2, []byte("k"))); got != "00 00 00 00 00 00 12 34 02 6b 00" {
		t.Errorf("the key of the package comment is %s", got)
	}
	if got := fmt.Sprintf("% x", AppendSystem([]byte{1}, 0x41, []byte("ab"))); got != "01 41 61 62" {
		t.Errorf("system key is %s", got)
	}
}

func TestOrder(t *testing.T) {
	keys := [][]byte{
		AppendToken(nil, 0), AppendUser(nil, 0, 0, nil), AppendUser(nil, 0, 0, []byte("a")), AppendUser(nil, 0, 1, nil),
		AppendToken(nil, 1), AppendUser(nil, 1, 0, []byte("z")), AppendUser(nil, 1<<TokenBits-1, 255, []byte{255}),
		AppendToken(nil, 1<<TokenBits), AppendSystem(nil, FirstSpace, []byte("x")), AppendSystem(nil, 0xff, nil),
	}
	for i := 1; i < len(keys); i++ {
		if bytes.Compare(keys[i-1], keys[i]) >= 0 {
			t.Errorf("key %d, %x, is not before %x", i-1, keys[i-1], keys[i])
		}
	}
}

func TestForeign(t *testing.T) {
	for _, k := range [][]byte{nil, make([]byte, 9), AppendSystem(nil, 0x40, make([]byte, 20)), append(make([]byte, 10), 7)} {
		if _, _, _, err := ParseUser(k); err == nil {
			t.Errorf("%x parses", k)
		}
	}
}

func TestTokenTooWide(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a token of 63 bits is taken")
		}
	}()
	AppendUser(nil, 1<<TokenBits, 0, nil)
}

// FuzzParseUser parses arbitrary bytes; what parses is what AppendUser makes of the parts.
func FuzzParseUser(f *testing.F) {
	f.Add(AppendUser(nil, 5, 3, []byte("key")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, k []byte) {
		token, db, name, err := ParseUser(k)
		if err == nil && !bytes.Equal(AppendUser(nil, token, db, name), k) {
			t.Errorf("%x became %x", k, AppendUser(nil, token, db, name))
		}
	})
}
