package resp

import (
	"math"
	"strconv"
	"testing"
)

func TestParseInt64(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if got, ok := ParseInt64([]byte(text)); !ok || got != want {
			t.Errorf("ParseInt64(%q) = %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "-0", "+1", " 1", "1 ", "01", "-01", "1a", "0x1", "9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if got, ok := ParseInt64([]byte(text)); ok {
			t.Errorf("ParseInt64(%q) = %d, want refused", text, got)
		}
	}
}

func FuzzParseInt64(f *testing.F) {
	f.Add([]byte("-12"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := ParseInt64(b)
		want, err := strconv.ParseInt(string(b), 10, 64)
		canonical := err == nil && strconv.FormatInt(want, 10) == string(b)
		if ok != canonical || ok && n != want {
			t.Fatalf("ParseInt64(%q) = %d, %v", b, n, ok)
		}
	})
}

func TestAddFloat(t *testing.T) {
	for _, c := range [][3]string{
		{"10.50", "0.1", "10.6"}, {"0.1", "0.2", "0.3"}, {"5.0e3", "2.0e2", "5200"}, {"3", "-3", "0"},
		{"-0", "0", "0"}, {"1", "1e-17", "1.00000000000000001"}, {"010", "1", "11"}, {"1.23", "-1.23", "0"},
		{"+1", "1", "2"}, {".5", "5.", "5.5"}, {"1e20", "0", "100000000000000000000"}, {"-1.5", "0", "-1.5"},
	} {
		got, err := AddFloat(nil, []byte(c[0]), []byte(c[1]))
		if err != nil || string(got) != c[2] {
			t.Errorf("%s + %s = %s, %v; want %s", c[0], c[1], got, err, c[2])
		}
	}
	for _, bad := range []string{"", "x", "1 ", " 1", "nan", "1_0", "1e"} {
		if got, err := AddFloat(nil, []byte(bad), []byte("1")); err != ErrNotFloat {
			t.Errorf("%q + 1 = %s, %v", bad, got, err)
		}
	}
	if _, err := AddFloat(nil, []byte("inf"), []byte("1")); err != ErrNotFinite {
		t.Errorf("inf + 1: %v", err)
	}
	if got := FormatFloat([]byte("x"), 10.25); string(got) != "x10.25" {
		t.Errorf("FormatFloat: %s", got)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"", "", true}, {"", "a", false}, {"a", "", false},
		{"h?llo", "hello", true}, {"h?llo", "hllo", false}, {"h*llo", "hllo", true}, {"h*llo", "heeeello", true},
		{"h[ae]llo", "hello", true}, {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hallo", true}, {"h[^e]llo", "hello", false},
		{"h[a-b]llo", "hbllo", true}, {"h[b-a]llo", "hbllo", true}, {"h[a-b]llo", "hcllo", false},
		{`h\*llo`, "h*llo", true}, {`h\*llo`, "hello", false}, {`[\]]`, "]", true}, {`[a\-z]`, "-", true}, {`[a\-z]`, "b", false},
		{"[a", "a", true}, {"a[", "a", false}, {`a\`, `a\`, true}, {"*a*b*c", "xxaxxbxxc", true}, {"*a*b*c", "xxaxxbxx", false},
		{"user:*:name", "user:1:2:name", true}, {"a*", "b", false}, {"**", "x", true}, {"[^]", "a", true}, {"[]", "a", false},
		{"?", "\xff", true}, {"[\x80-\xff]", "\x90", true},
	} {
		if got := Match([]byte(c.pattern), []byte(c.text)); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		two, three []byte
		want2      string
		want3      string
	}{
		{AppendNull(nil, 2), AppendNull(nil, 3), "$-1\r\n", "_\r\n"},
		{AppendNullArray(nil, 2), AppendNullArray(nil, 3), "*-1\r\n", "_\r\n"},
		{AppendMapHeader(nil, 2, 3), AppendMapHeader(nil, 3, 3), "*6\r\n", "%3\r\n"},
		{AppendSetHeader(nil, 2, 3), AppendSetHeader(nil, 3, 3), "*3\r\n", "~3\r\n"},
		{AppendBool(nil, 2, true), AppendBool(nil, 3, true), ":1\r\n", "#t\r\n"},
		{AppendBool(nil, 2, false), AppendBool(nil, 3, false), ":0\r\n", "#f\r\n"},
		{AppendDouble(nil, 2, 1.5), AppendDouble(nil, 3, 1.5), "$3\r\n1.5\r\n", ",1.5\r\n"},
		{AppendDouble(nil, 2, math.Inf(-1)), AppendDouble(nil, 3, math.Inf(1)), "$4\r\n-inf\r\n", ",inf\r\n"},
		{AppendVerbatim(nil, 2, "txt", "hi"), AppendVerbatim(nil, 3, "txt", "hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
		{AppendBulkArray(nil, "a", ""), AppendBulkArray(nil), "*2\r\n$1\r\na\r\n$0\r\n\r\n", "*0\r\n"},
	} {
		if string(c.two) != c.want2 || string(c.three) != c.want3 {
			t.Errorf("got %q and %q, want %q and %q", c.two, c.three, c.want2, c.want3)
		}
	}
}
