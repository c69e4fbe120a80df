package config

import (
	"testing"
	"time"
)

func TestParseByteSize(t *testing.T) {
	for _, tc := range []struct {
		text string
		want ByteSize
		err  string
	}{
		{text: "0", want: 0}, {text: "4096", want: 4 * KiB}, {text: "64MiB", want: 64 * MiB}, {text: "64 mib", want: 64 * MiB},
		{text: "1KB", want: 1000}, {text: "3gb", want: 3e9}, {text: "1TiB", want: TiB}, {text: "7B", want: 7},
		{text: "", err: "not a size"}, {text: "MiB", err: "not a size"}, {text: "-1MiB", err: "not a size"},
		{text: "1.5GiB", err: "not a size"}, {text: "1PiB", err: "not a size"}, {text: "9223372036854775808", err: "not a size"},
		{text: "8388608TiB", err: "too large for a size"},
	} {
		got, err := ParseByteSize(tc.text)
		if message(err) != tc.err || got != tc.want {
			t.Errorf("ParseByteSize(%q) = %d, %q; want %d, %q", tc.text, got, message(err), tc.want, tc.err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestByteSizeString(t *testing.T) {
	for want, b := range map[string]ByteSize{"0B": 0, "100B": 100, "1KiB": KiB, "1536KiB": 1536 * KiB, "64MiB": 64 * MiB, "2TiB": 2 * TiB} {
		if b.String() != want {
			t.Errorf("%d prints as %s, want %s", int64(b), b, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{"0s": 0, "500ms": 500 * time.Millisecond, "1h": time.Hour, "1h30m": 90 * time.Minute, "1m": time.Minute, "1m30s": 90 * time.Second, "10s": 10 * time.Second, "1h0m5s": time.Hour + 5*time.Second} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d prints as %s, want %s", d, got, want)
		}
	}
}

// A size that parses prints as one that parses to the same.
func FuzzParseByteSize(f *testing.F) {
	for _, seed := range []string{"0", "64MiB", "1 kb", "-1", "9223372036854775807", "8388607TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseByteSize(text)
		if err != nil {
			return
		}
		if b < 0 {
			t.Fatalf("%q is negative", text)
		}
		if again, err := ParseByteSize(b.String()); err != nil || again != b {
			t.Fatalf("%q is %d, printed %s, read back %d, %v", text, b, b, again, err)
		}
	})
}

// No text breaks the reader of files, and what Load accepts it accepts again
// after being written by File.
func FuzzFromTOML(f *testing.F) {
	for _, seed := range []string{"", Example(), "[server]\nlisten = 5", "server.timeout = \"1s\"", "[[server]]\n", "[cluster]\njoin = [\"a:1\", 5]",
		"[server]\nlisten = 2020-01-01", "server = 5", "[node]\nname = \"\\u0007\"", "[cluster]\nsecret = \"AAAAAAAAAAAAAAAAAAAAAA==\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := FromTOML("f", text)
		if err != nil {
			return
		}
		c, err := Load(settings)
		if err != nil {
			return
		}
		again, err := FromTOML("f", File(c))
		if err != nil {
			t.Fatalf("written:\n%s\n%v", File(c), err)
		}
		d, err := Load(again)
		if err != nil {
			t.Fatalf("written:\n%s\n%v", File(c), err)
		}
		for _, field := range Fields() {
			if c.Text(field.Key) != d.Text(field.Key) {
				t.Fatalf("%s was %q, read back %q", field.Key, c.Text(field.Key), d.Text(field.Key))
			}
		}
	})
}
