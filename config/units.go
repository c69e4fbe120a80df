package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// ByteSize is a number of bytes. It prints in the largest binary unit that
// divides it, and ParseByteSize reads back what it prints.
type ByteSize int64

// Binary units of a ByteSize.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
	TiB ByteSize = 1 << 40
)

type byteUnit struct {
	name  string
	bytes ByteSize
}

// byteUnits lists the units from the largest, binary before decimal, in the
// order in which String tries them. Only binary units are printed.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
	}
}

// String is the size in the largest binary unit that divides it: 64MiB, 1536KiB, 100B.
func (b ByteSize) String() string {
	for _, u := range byteUnits() {
		if strings.HasSuffix(u.name, "iB") && b != 0 && b%u.bytes == 0 {
			return strconv.FormatInt(int64(b/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// ParseByteSize reads a size such as 64MiB, 100MB or 4096. Letters may be of
// either case and a space may stand before the unit. Fractions and negative
// sizes are errors, as is a size beyond 63 bits.
func ParseByteSize(text string) (ByteSize, error) {
	number, factor := strings.TrimSpace(text), ByteSize(1)
	for _, u := range byteUnits() {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, factor = strings.TrimRight(number[:n], " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, errors.New("not a size")
	}
	if n > uint64(math.MaxInt64/factor) {
		return 0, errors.New("too large for a size")
	}
	return ByteSize(n) * factor, nil
}

// parseDuration is time.ParseDuration with an error that says what is missing.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err == nil {
		return d, nil
	}
	if _, numeric := strconv.ParseFloat(text, 64); numeric == nil {
		return 0, errors.New("a duration needs a unit, as in " + text + "ms or " + text + "s")
	}
	return 0, errors.New("not a duration")
}

// formatDuration is Duration.String without the zero minutes and seconds that
// make it hard to read: 1h rather than 1h0m0s.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
