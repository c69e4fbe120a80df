package resp

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"strconv"
)

// Errors of AddFloat.
var (
	// ErrNotFloat is returned for an argument that is not a number.
	ErrNotFloat = errors.New("value is not a valid float")
	// ErrNotFinite is returned when a sum has no finite value.
	ErrNotFinite = errors.New("increment would produce NaN or Infinity")
)

// ParseInt64 reads a decimal integer as strictly as Redis does: no sign but a
// leading minus, no spaces, no leading zeros, nothing out of range. What it
// accepts is exactly what formatting the result gives back.
func ParseInt64(b []byte) (int64, bool) {
	digits, negative := b, false
	if len(b) > 0 && b[0] == '-' {
		digits, negative = b[1:], true
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	if digits[0] == '0' {
		return 0, len(b) == 1
	}
	var n uint64 // 19 digits always fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if negative {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n <= math.MaxInt64
}

// ParseFloat reads a number as Redis does with strtold: decimal or
// hexadecimal, "inf" too, but no surrounding spaces and no NaN.
func ParseFloat(b []byte) (float64, bool) {
	if len(b) == 0 || len(b) > maxFloatText || bytes.IndexByte(b, '_') >= 0 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}

// maxFloatText is the longest text read as a number: Redis's MAX_LONG_DOUBLE_CHARS.
const maxFloatText = 5 * 1024

// FormatFloat appends f as INCRBYFLOAT prints numbers: never an exponent, no
// trailing zeros, no negative zero.
func FormatFloat(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0')
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// longDoubleBits is the mantissa of the x87 long double, in which Redis adds
// floats. Adding in the same precision makes 0.1 + 0.2 read "0.3" here too.
const longDoubleBits = 64

// longDoubleMax is where that type ends, in powers of two.
const longDoubleMax = 16384

// AddFloat appends the sum of two numbers as INCRBYFLOAT prints it: computed
// with 64 bits of mantissa, rounded to 17 decimals, trailing zeros cut.
func AddFloat(dst, a, b []byte) ([]byte, error) {
	x, err := parseLong(a)
	if err != nil {
		return dst, err
	}
	y, err := parseLong(b)
	if err != nil {
		return dst, err
	}
	if x.IsInf() || y.IsInf() {
		return dst, ErrNotFinite
	}
	sum := x.Add(x, y)
	if sum.IsInf() || sum.MantExp(nil) > longDoubleMax {
		return dst, ErrNotFinite
	}
	start := len(dst)
	dst = sum.Append(dst, 'f', 17)
	if bytes.IndexByte(dst[start:], '.') >= 0 {
		dst = bytes.TrimRight(dst, "0")
		dst = bytes.TrimSuffix(dst, []byte("."))
	}
	if string(dst[start:]) == "-0" {
		dst = append(dst[:start], '0')
	}
	return dst, nil
}

// parseLong reads one number into long double precision.
func parseLong(text []byte) (*big.Float, error) {
	f, ok := ParseFloat(text)
	if !ok {
		// A number beyond float64 may still be a long double.
		if len(text) == 0 || len(text) > maxFloatText || bytes.IndexByte(text, '_') >= 0 {
			return nil, ErrNotFloat
		}
	} else if math.IsInf(f, 0) {
		return big.NewFloat(f), nil
	}
	x, _, err := big.ParseFloat(string(text), 0, longDoubleBits, big.ToNearestEven)
	if err != nil {
		// Base 0 reads a leading zero as a prefix; strtold does not.
		x, _, err = big.ParseFloat(string(text), 10, longDoubleBits, big.ToNearestEven)
	}
	if err != nil || !ok && (x.IsInf() || x.MantExp(nil) > longDoubleMax) {
		return nil, ErrNotFloat
	}
	return x, nil
}
