package resp

import (
	"math"
	"strconv"
)

// The appenders below are those replies that differ between RESP2 and RESP3.
// proto is 2 or 3. What is the same in both comes from redcon.

// AppendNull appends the absence of a value.
func AppendNull(out []byte, proto uint8) []byte {
	if proto >= 3 {
		return append(out, "_\r\n"...)
	}
	return append(out, "$-1\r\n"...)
}

// AppendNullArray appends the absence of an array, which RESP2 tells apart
// from the absence of a value.
func AppendNullArray(out []byte, proto uint8) []byte {
	if proto >= 3 {
		return append(out, "_\r\n"...)
	}
	return append(out, "*-1\r\n"...)
}

// AppendMapHeader announces n pairs: a map, or in RESP2 an array of 2n.
func AppendMapHeader(out []byte, proto uint8, n int) []byte {
	if proto >= 3 {
		return appendHeader(out, '%', n)
	}
	return appendHeader(out, '*', 2*n)
}

// AppendSetHeader announces n elements without order: a set, or in RESP2 an
// array.
func AppendSetHeader(out []byte, proto uint8, n int) []byte {
	if proto >= 3 {
		return appendHeader(out, '~', n)
	}
	return appendHeader(out, '*', n)
}

// AppendPushHeader announces an out of band message of n elements.
func AppendPushHeader(out []byte, proto uint8, n int) []byte {
	if proto >= 3 {
		return appendHeader(out, '>', n)
	}
	return appendHeader(out, '*', n)
}

// AppendBool appends a truth value: #t and #f, or in RESP2 the integers 1 and 0.
func AppendBool(out []byte, proto uint8, b bool) []byte {
	switch {
	case proto >= 3 && b:
		return append(out, "#t\r\n"...)
	case proto >= 3:
		return append(out, "#f\r\n"...)
	case b:
		return append(out, ":1\r\n"...)
	}
	return append(out, ":0\r\n"...)
}

// AppendDouble appends a number in the shortest form that reads back as f: a
// double, or in RESP2 a bulk string.
func AppendDouble(out []byte, proto uint8, f float64) []byte {
	var room [32]byte
	text := room[:0]
	switch {
	case math.IsInf(f, 1):
		text = append(text, "inf"...)
	case math.IsInf(f, -1):
		text = append(text, "-inf"...)
	case math.IsNaN(f):
		text = append(text, "nan"...)
	default:
		text = strconv.AppendFloat(text, f, 'g', -1, 64)
	}
	if proto >= 3 {
		out = append(out, ',')
	} else {
		out = appendHeader(out, '$', len(text))
	}
	out = append(out, text...)
	return append(out, '\r', '\n')
}

// AppendVerbatim appends text meant for people. format is three letters, "txt"
// or "mkd"; RESP2 has only the text.
func AppendVerbatim(out []byte, proto uint8, format, text string) []byte {
	if proto >= 3 {
		out = appendHeader(out, '=', len(text)+4)
		out = append(out, format...)
		out = append(out, ':')
	} else {
		out = appendHeader(out, '$', len(text))
	}
	out = append(out, text...)
	return append(out, '\r', '\n')
}

// AppendBulkArray appends an array of bulk strings.
func AppendBulkArray(out []byte, items ...string) []byte {
	out = appendHeader(out, '*', len(items))
	for _, item := range items {
		out = appendHeader(out, '$', len(item))
		out = append(out, item...)
		out = append(out, '\r', '\n')
	}
	return out
}

func appendHeader(out []byte, kind byte, n int) []byte {
	out = append(out, kind)
	out = strconv.AppendInt(out, int64(n), 10)
	return append(out, '\r', '\n')
}
