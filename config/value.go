package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a place in a Config together with its type: how text becomes the
// value, how the value is written, and what is allowed.
type value interface {
	// parse stores what text means, or says what is wrong with it and stores nothing.
	parse(text string) error
	// String writes the value so that parse reads it back.
	String() string
	// toml writes the value as the file has it.
	toml() string
	// allowed completes the sentence "allowed: ...".
	allowed() string
}

func quoted(s string) string { return strconv.Quote(s) }

// text is any text without control characters, at most max bytes.
type text struct {
	p        *string
	min, max int
	what     string // what is allowed, when it is more than the length
}

func (v text) parse(s string) error {
	if len(s) < v.min {
		return errors.New("empty")
	}
	if len(s) > v.max {
		return fmt.Errorf("%d bytes long", len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return errors.New("contains a control character")
	}
	*v.p = s
	return nil
}
func (v text) String() string { return *v.p }
func (v text) toml() string   { return quoted(*v.p) }
func (v text) allowed() string {
	if v.what != "" {
		return v.what
	}
	return fmt.Sprintf("%d to %d bytes of text", v.min, v.max)
}

// secretKey is a base64 key of an AES length, or nothing.
type secretKey struct{ p *string }

func (v secretKey) parse(s string) error {
	if s != "" {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return errors.New("not base64")
		}
		if n := len(raw); n != 16 && n != 24 && n != 32 {
			return fmt.Errorf("a key of %d bytes", n)
		}
	}
	*v.p = s
	return nil
}
func (v secretKey) String() string { return *v.p }
func (v secretKey) toml() string   { return quoted(*v.p) }
func (v secretKey) allowed() string {
	return "16, 24 or 32 bytes in base64, the same on every node (openssl rand -base64 32), or empty"
}

// address is HOST:PORT to listen on.
type address struct {
	p        *string
	optional bool // empty turns the listener off
	anyPort  bool // port 0 lets the system choose
	told     bool // other nodes are told the address, so it must name one host
}

func (v address) parse(s string) error {
	if s == "" && v.optional {
		*v.p = ""
		return nil
	}
	minPort := 1
	if v.anyPort {
		minPort = 0
	}
	if err := checkAddress(s, minPort); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(s); v.told && unspecified(host) {
		return errors.New("other nodes cannot reach a host that stands for all interfaces")
	}
	*v.p = s
	return nil
}
func (v address) String() string { return *v.p }
func (v address) toml() string   { return quoted(*v.p) }
func (v address) allowed() string {
	switch {
	case v.optional:
		return "HOST:PORT, or empty for none"
	case v.told:
		return "HOST:PORT with a host that the other nodes can reach"
	}
	return "HOST:PORT with a port from 1 to 65535"
}

// unspecified reports whether a listener's host means all interfaces.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func checkAddress(s string, minPort int) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("not HOST:PORT")
	}
	if strings.ContainsAny(host, " \t/,\"") {
		return errors.New("not a host name or address")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || int(n) < minPort {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// addresses is a list of HOST:PORT of other nodes.
type addresses struct{ p *[]string }

func (v addresses) parse(s string) error {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if err := checkAddress(item, 1); err != nil {
			return fmt.Errorf("%q: %w", item, err)
		}
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	*v.p = list
	return nil
}
func (v addresses) String() string  { return strings.Join(*v.p, ",") }
func (v addresses) toml() string    { return tomlList(*v.p) }
func (v addresses) allowed() string { return "a list of HOST:PORT" }

func tomlList(items []string) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = quoted(item)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// whole is a whole number within bounds.
type whole struct {
	p          *int
	min, max   int
	powerOfTwo bool
}

func (v whole) parse(s string) error {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	switch {
	case err != nil:
		return errors.New("not a whole number")
	case n < v.min || n > v.max:
		return errors.New("out of range")
	case v.powerOfTwo && bits.OnesCount(uint(n)) != 1:
		return errors.New("not a power of two")
	}
	*v.p = n
	return nil
}
func (v whole) String() string { return strconv.Itoa(*v.p) }
func (v whole) toml() string   { return v.String() }
func (v whole) allowed() string {
	if v.powerOfTwo {
		return fmt.Sprintf("a power of two from %d to %d", v.min, v.max)
	}
	return fmt.Sprintf("%d to %d", v.min, v.max)
}

// number is a fraction within bounds.
type number struct {
	p        *float64
	min, max float64
}

func (v number) parse(s string) error {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) {
		return errors.New("not a number")
	}
	if f < v.min || f > v.max {
		return errors.New("out of range")
	}
	*v.p = f
	return nil
}
func (v number) String() string { return strconv.FormatFloat(*v.p, 'f', -1, 64) }
func (v number) toml() string {
	if s := v.String(); strings.Contains(s, ".") {
		return s
	}
	return v.String() + ".0"
}
func (v number) allowed() string { return fmt.Sprintf("%v to %v", v.min, v.max) }

// size is a ByteSize within bounds.
type size struct {
	p        *ByteSize
	min, max ByteSize
}

func (v size) parse(s string) error {
	b, err := ParseByteSize(s)
	if err != nil {
		return err
	}
	if b < v.min || b > v.max {
		return errors.New("out of range")
	}
	*v.p = b
	return nil
}
func (v size) String() string  { return v.p.String() }
func (v size) toml() string    { return quoted(v.String()) }
func (v size) allowed() string { return fmt.Sprintf("%v to %v", v.min, v.max) }

// duration is a time.Duration within bounds.
type duration struct {
	p        *time.Duration
	min, max time.Duration
}

func (v duration) parse(s string) error {
	d, err := parseDuration(s)
	if err != nil {
		return err
	}
	if d < v.min || d > v.max {
		return errors.New("out of range")
	}
	*v.p = d
	return nil
}
func (v duration) String() string { return formatDuration(*v.p) }
func (v duration) toml() string   { return quoted(v.String()) }
func (v duration) allowed() string {
	return fmt.Sprintf("%s to %s", formatDuration(v.min), formatDuration(v.max))
}

// choice is one of a few words.
type choice struct {
	p     *string
	words []string
}

func (v choice) parse(s string) error {
	s = strings.ToLower(strings.TrimSpace(s))
	if !slices.Contains(v.words, s) {
		return errors.New("not one of the choices")
	}
	*v.p = s
	return nil
}
func (v choice) String() string  { return *v.p }
func (v choice) toml() string    { return quoted(*v.p) }
func (v choice) allowed() string { return strings.Join(v.words, ", ") }

// toggle is true or false.
type toggle struct{ p *bool }

func (v toggle) parse(s string) error {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on":
		*v.p = true
	case "false", "no", "off":
		*v.p = false
	default:
		return errors.New("neither true nor false")
	}
	return nil
}
func (v toggle) String() string  { return strconv.FormatBool(*v.p) }
func (v toggle) toml() string    { return strconv.FormatBool(*v.p) }
func (v toggle) allowed() string { return "true, false" }

// level is how many replicas must answer: a name or a count.
type level struct{ p *Level }

func (v level) parse(s string) error {
	s = strings.ToLower(strings.TrimSpace(s))
	n, err := strconv.Atoi(s)
	switch {
	case err != nil && !slices.Contains(levelNames(), s):
		return errors.New("not a level")
	case err == nil && (n < 1 || n > MaxReplicas):
		return errors.New("out of range")
	}
	*v.p = Level(s)
	return nil
}
func (v level) String() string { return string(*v.p) }
func (v level) toml() string   { return quoted(string(*v.p)) }
func (v level) allowed() string {
	return strings.Join(levelNames(), ", ") + fmt.Sprintf(", or a number from 1 to %d", MaxReplicas)
}

func levelNames() []string {
	return []string{"one", "two", "three", "quorum", "all", "local_one", "local_quorum", "each_quorum"}
}
