package resp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

// all runs a guard over in, given in pieces that end at cuts, and returns the
// commands found and the error that ended it.
func all(l Limits, stranger bool, in []byte, cut func(have int) int) (cmds [][]string, rest int, err error) {
	g := NewGuard(l, stranger)
	begin, have := 0, 0
	for have < len(in) {
		have = min(len(in), have+max(1, cut(have)))
		for begin < have {
			args, n, err := g.Next(in[begin:have], nil)
			if err != nil {
				return cmds, len(in) - begin, err
			}
			if n == 0 {
				break
			}
			begin += n
			if len(args) > 0 {
				var cmd []string
				for _, a := range args {
					cmd = append(cmd, string(a))
				}
				cmds = append(cmds, cmd)
			}
		}
	}
	return cmds, len(in) - begin, nil
}

func whole(int) int   { return 1 << 30 }
func trickle(int) int { return 1 }

func TestGuardFrames(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
		rest int
	}{
		{"*1\r\n$4\r\nPING\r\n", "[[PING]]", 0},
		{"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$1\r\na\r\n", "[[GET ] [a]]", 0},
		{"*0\r\n*-1\r\n\r\n\nPING\n", "[[PING]]", 0},
		{"  set  a\tb \r\n", "[[set a b]]", 0},
		{`set "a b\x41\n" 'c\'d' e"f"` + "\r\n", "[[set a bA\n c'd ef]]", 0},
		{"*2\r\n$3\r\nGET\r\n$1\r\n", "[]", 17},
		{"PIN", "[]", 3},
		{"*1\r\n$2\r\n\r\n\r\n", "[[\r\n]]", 0},
	} {
		for name, cut := range map[string]func(int) int{"whole": whole, "trickle": trickle} {
			cmds, rest, err := all(Limits{}, false, []byte(c.in), cut)
			if err != nil || fmt.Sprint(cmds) != c.want || rest != c.rest {
				t.Errorf("%s %q: %q, rest %d, %v; want %q, %d", name, c.in, cmds, rest, err, c.want, c.rest)
			}
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	long := strings.Repeat("a", 64<<10+1)
	for _, c := range []struct {
		in       string
		stranger bool
		want     string
	}{
		{"*x\r\n", false, "invalid multibulk length"},
		{"*01\r\n", false, "invalid multibulk length"},
		{"*1048577\r\n", false, "invalid multibulk length"},
		{"*99999999999999999999\r\n", false, "invalid multibulk length"},
		{"*1\rx", false, "invalid multibulk length"},
		{"*11\r\n", true, "unauthenticated multibulk length"},
		{"*1000000000\r\n", true, "unauthenticated multibulk length"},
		{"*" + long, false, "too big mbulk count string"},
		{"*1\r\n$" + long, false, "too big bulk count string"},
		{"*1\r\n:1\r\n", false, "expected '$', got ':'"},
		{"*1\r\n$-1\r\n", false, "invalid bulk length"},
		{"*1\r\n$a\r\n", false, "invalid bulk length"},
		{"*1\r\n$536870913\r\n", false, "invalid bulk length"},
		{"*1\r\n$1\r\nabc", false, "invalid bulk length"},
		{"*1\r\n$16385\r\n", true, "unauthenticated bulk length"},
		{long, false, "too big inline request"},
		{long + "\n", false, "too big inline request"},
		{"set \"a\n", false, "unbalanced quotes in request"},
		{"set \"a\"b\n", false, "unbalanced quotes in request"},
		{"set 'a\n", false, "unbalanced quotes in request"},
	} {
		for name, cut := range map[string]func(int) int{"whole": whole, "trickle": trickle} {
			_, _, err := all(Limits{}, c.stranger, []byte(c.in), cut)
			if err == nil || err.Error() != "Protocol error: "+c.want {
				t.Errorf("%s %.40q: %v, want %s", name, c.in, err, c.want)
			}
		}
	}
	in := "*3\r\n" + strings.Repeat("$100\r\n"+strings.Repeat("a", 100)+"\r\n", 3)
	if _, _, err := all(Limits{Frame: 250}, false, []byte(in), whole); err == nil || err.Error() != "Protocol error: too big request" {
		t.Errorf("frame limit: %v", err)
	}
}

// A frame in a hundred thousand pieces costs what it costs in one: the guard
// looks at no byte twice, which the test measures as the work of Next.
func TestGuardIsLinear(t *testing.T) {
	var in []byte
	in = redcon.AppendArray(in, 50_000)
	for range 50_000 {
		in = redcon.AppendBulkString(in, "ab")
	}
	g := NewGuard(Limits{}, false)
	last := 0
	for have := 1; have <= len(in); have++ {
		_, n, err := g.Next(in[:have], nil)
		if err != nil || (n > 0) != (have == len(in)) {
			t.Fatalf("at %d of %d: n %d, %v", have, len(in), n, err)
		}
		if n == 0 && g.begun {
			if g.pos < last || have-g.pos > 16 {
				t.Fatalf("at %d the guard stands at %d, before at %d", have, g.pos, last)
			}
			last = g.pos
		}
	}
}

// FuzzGuard compares with redcon what both accept, in one piece and in many.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n"), uint64(1))
	f.Add([]byte("*1000000000\r\n"), uint64(2))
	f.Add([]byte("set \"a\\x41\" 'b'\n*0\r\n"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		one, rest, err := all(Limits{}, false, in, whole)
		many, rest2, err2 := all(Limits{}, false, in, func(int) int { return 1 + r.IntN(5) })
		if fmt.Sprint(one, rest, err) != fmt.Sprint(many, rest2, err2) {
			t.Fatalf("%q in one piece: %q %d %v, in many: %q %d %v", in, one, rest, err, many, rest2, err2)
		}
		left := in
		for _, cmd := range one {
			for len(left) > 0 && left[0] == '*' {
				complete, args, kind, next, err := redcon.ReadNextCommand(left, nil)
				if err != nil || !complete || kind != redcon.Redis {
					return // *-1 is an error to redcon and an empty command to Redis
				}
				left = next
				if len(args) == 0 {
					continue
				}
				if !slices.EqualFunc(args, cmd, func(a []byte, s string) bool { return string(a) == s }) {
					t.Fatalf("%q: redcon reads %q, the guard %q", in, args, cmd)
				}
				break
			}
			if len(left) == 0 || left[0] != '*' {
				return
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	set := []byte("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$64\r\n" + strings.Repeat("x", 64) + "\r\n")
	in := bytes.Repeat(set, 16)
	b.Run("guard", func(b *testing.B) {
		g := NewGuard(Limits{}, false)
		var args [][]byte
		for b.Loop() {
			for rest := in; len(rest) > 0; {
				var n int
				args, n, _ = g.Next(rest, args[:0])
				rest = rest[n:]
			}
		}
		b.ReportAllocs()
	})
	b.Run("redcon", func(b *testing.B) {
		var args [][]byte
		for b.Loop() {
			for rest := in; len(rest) > 0; {
				_, args, _, rest, _ = redcon.ReadNextCommand(rest, args)
			}
		}
		b.ReportAllocs()
	})
}
