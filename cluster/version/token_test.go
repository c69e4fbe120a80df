package version

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	for seed := range uint64(50) {
		for _, o := range crowd(rand.New(rand.NewPCG(seed, 6))) {
			token := o.Context.EncodeToken(7, seed)
			var c Context
			if err := c.ParseToken([]byte(token), 7, seed); err != nil || CompareContexts(&c, &o.Context) != Equal {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if strings.ContainsAny(token, "+/= \n") {
				t.Fatalf("token %s", token)
			}
			cluster, hash, err := c.DecodeToken([]byte(token))
			if err != nil || cluster != 7 || hash != seed {
				t.Fatalf("token of %d, %d: %v", cluster, hash, err)
			}
		}
	}
}

// A context without exact dots has the token it always had, which is still read.
func TestTokensOfBothVersions(t *testing.T) {
	vector := &Context{Entries: []Dot{{1, 2}, {3, 4}}}
	const old = "AQAAAAAAAAAHAAAAAAAAAAgAAAAAAAAAAAIAAAAAAAAAAQAAAAAAAAACAAAAAAAAAAMAAAAAAAAABEDI07jUlvkk"
	if got := vector.EncodeToken(7, 8); got != old {
		t.Errorf("a vector's token is %s", got)
	}
	dotted := &Context{Entries: vector.Entries, Dots: []Dot{{5, 5}, {1, 6}}}
	token := dotted.EncodeToken(7, 8)
	if extra := len(token) - len(old); extra > 2*22+2 {
		t.Errorf("two dots take %d characters", extra)
	}
	var c Context
	if err := c.ParseToken([]byte(token), 7, 8); err != nil || CompareContexts(&c, dotted) != Equal {
		t.Errorf("%+v, %v", c, err)
	}
	if err := c.ParseToken([]byte(token), 7, 9); !errors.Is(err, ErrContextForeign) || !c.Empty() {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTokensRefused(t *testing.T) {
	good := (&Context{Entries: []Dot{{1, 2}}, Dots: []Dot{{3, 4}}}).EncodeToken(7, 8)
	tests := []struct {
		name, token string
		want        error
	}{
		{"another cluster's", (&Context{}).EncodeToken(6, 8), ErrContextForeign},
		{"another key's", (&Context{}).EncodeToken(7, 9), ErrContextForeign},
		{"not base64url", "!!!!" + good, ErrContextDamaged},
		{"standard base64", strings.Repeat("+/", 30), ErrContextDamaged},
		{"line breaks", good[:4] + "\r\n" + good[4:], ErrContextDamaged},
		{"short", "AQ", ErrContextDamaged},
		{"endless", strings.Repeat("A", MaxToken+1), ErrContextDamaged},
		{"zeros", strings.Repeat("A", 48), ErrContextDamaged},
	}
	for i := range good {
		damaged := []byte(good)
		damaged[i] = 'A' + (damaged[i]-'A'+1)%26
		tests = append(tests,
			struct {
				name, token string
				want        error
			}{"damaged", string(damaged), ErrContextDamaged},
			struct {
				name, token string
				want        error
			}{"cut", good[:max(i, 1)], ErrContextDamaged})
	}
	for _, test := range tests {
		c := Context{Floor: 1, Entries: []Dot{{5, 5}}}
		if err := c.ParseToken([]byte(test.token), 7, 8); !errors.Is(err, test.want) || !c.Empty() {
			t.Errorf("%s: %q: %v", test.name, test.token, err)
		}
	}
}

func TestEmptyTokenIsTheEmptyContext(t *testing.T) {
	c := Context{Floor: 1}
	if err := c.ParseToken(nil, 7, 8); err != nil || !c.Empty() {
		t.Fatalf("%v, %v", c, err)
	}
	if err := c.ParseToken([]byte(c.EncodeToken(7, 8)), 7, 8); err != nil || !c.Empty() {
		t.Fatalf("%v, %v", c, err)
	}
}

func TestLargestTokenIsRead(t *testing.T) {
	var c, got Context
	for i := range Incarnation(MaxDecodeEntries) {
		c.Entries = append(c.Entries, Dot{i, 1})
		c.Dots = append(c.Dots, Dot{i, 2})
	}
	token := c.EncodeToken(1, 2)
	if err := got.ParseToken([]byte(token), 1, 2); err != nil || len(got.Entries) != MaxDecodeEntries || len(got.Dots) != MaxDecodeEntries {
		t.Fatalf("%d bytes, limit %d: %v", len(token), MaxToken, err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add([]byte((&Context{Floor: 1, Entries: []Dot{{1, 2}, {3, 4}}}).EncodeToken(7, 8)))
	f.Add([]byte((&Context{Floor: 1, Entries: []Dot{{1, 2}}, Dots: []Dot{{1, 3}, {3, 4}}}).EncodeToken(7, 8)))
	f.Fuzz(func(t *testing.T, token []byte) {
		var c Context
		cluster, hash, err := c.DecodeToken(token)
		if err == nil && c.EncodeToken(cluster, hash) != string(token) {
			t.Fatal("decodes, and encodes as something else")
		}
	})
}

func FuzzContext(f *testing.F) {
	f.Add((&Context{Floor: 1, Entries: []Dot{{1, 2}, {3, 4}}}).append(nil))
	f.Add((&Context{Floor: 1, Entries: []Dot{{1, 2}}, Dots: []Dot{{1, 3}, {3, 4}}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Context
		for _, dotted := range []bool{false, true} {
			rest, err := c.decode(b, dotted)
			if err == nil && string(c.append(nil)) != string(b[:len(b)-len(rest)]) {
				t.Fatal("decodes, and encodes as something else")
			}
		}
	})
}
