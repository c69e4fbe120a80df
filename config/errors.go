package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in the configuration: one line.
type Error struct {
	Key     string // section.key, or what stood in its place
	Value   string // as given; empty and not shown for an unknown key
	Origin  string // where it was given
	Problem string // what is wrong
	Allowed string // what would be right
}

// Error is the line shown to the operator.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Key)
	if e.Value != "" {
		fmt.Fprintf(&b, " = %s", e.Value)
	}
	if e.Origin != "" {
		fmt.Fprintf(&b, " (%s)", e.Origin)
	}
	b.WriteString(": " + e.Problem)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	return b.String()
}

// Errors is every mistake found, in the order of the settings.
type Errors []*Error

// Error is one line per mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil is e as an error that is nil when there are no mistakes.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// unknownKey names the nearest key that exists, if one is near.
func unknownKey(key, origin string) *Error {
	e := &Error{Key: key, Origin: origin, Problem: "unknown key"}
	if near := nearest(key); near != "" {
		e.Problem += ", did you mean " + near + "?"
	} else {
		e.Problem += ", kvstore help config lists all"
	}
	return e
}

// nearest is the known key with the fewest edits from key, when they are few
// enough to be a slip of the hand, or the only key of that name in any section.
func nearest(key string) string {
	best, fewest := "", 1+max(2, len(key)/4)
	var sameName []string
	for _, f := range Fields() {
		if d := distance(key, f.Key); d < fewest {
			best, fewest = f.Key, d
		}
		if key[strings.LastIndexByte(key, '.')+1:] == f.Name() {
			sameName = append(sameName, f.Key)
		}
	}
	if best == "" && len(sameName) == 1 {
		return sameName[0]
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
