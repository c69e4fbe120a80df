package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

const (
	// envPrefix begins the name of every environment variable that is read.
	envPrefix = "KVSTORE_"
	// maxFileSize bounds what is read of a configuration file; a larger one is
	// a wrong path, not a configuration.
	maxFileSize = 1 << 20
)

// Setting is one key as somebody wrote it, not yet checked.
type Setting struct {
	Key, Value, Origin string
}

// ReadFile takes the settings from the TOML file of that name.
func ReadFile(name string) ([]Setting, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFileSize {
		err = fmt.Errorf("%s is larger than %v", name, ByteSize(maxFileSize))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return FromTOML(name, string(data))
}

// FromTOML takes the settings from the text of a file; name is for errors. It
// checks shapes (tables of scalars and lists of text); Load checks the rest.
func FromTOML(name, text string) ([]Setting, error) {
	var doc map[string]any
	if _, err := toml.Decode(text, &doc); err != nil {
		if syntax, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s:%d: %s", name, syntax.Position.Line, syntax.Message)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var settings []Setting
	var mistakes Errors
	for table, content := range doc {
		keys, ok := content.(map[string]any)
		if !ok {
			mistakes = append(mistakes, unknownKey(table, place(name, text, table)))
			continue
		}
		for key, v := range keys {
			key = table + "." + key
			s := Setting{Key: key, Origin: place(name, text, key)}
			if f, known := lookup(key); known && f.isTable() {
				v = pairs(v)
			}
			if s.Value, ok = scalar(v); ok {
				settings = append(settings, s)
			} else {
				mistakes = append(mistakes, misshapen(s))
			}
		}
	}
	slices.SortFunc(mistakes, func(a, b *Error) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(settings, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return settings, mistakes.orNil()
}

// misshapen is the mistake of a table or a list where a scalar belongs.
func misshapen(s Setting) *Error {
	f, ok := lookup(s.Key)
	if !ok {
		return unknownKey(s.Key, s.Origin)
	}
	return &Error{Key: s.Key, Origin: s.Origin, Problem: "a table or a mixed list in place of one value", Allowed: f.Allowed()}
}

// isTable reports whether the file has a table of numbers in the field's place.
func (f Field) isTable() bool {
	_, is := f.at(new(Config)).(perDC)
	return is
}

// pairs is a table as name=value with commas between; anything else stays what it is.
func pairs(v any) any {
	table, ok := v.(map[string]any)
	if !ok {
		return v
	}
	var items []string
	for name, n := range table {
		text, ok := scalar(n)
		if !ok {
			return v
		}
		items = append(items, name+"="+text)
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}

// scalar is a TOML value as the text of a flag.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	case time.Time:
		return v.String(), true
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			if !ok {
				return "", false
			}
			items[i] = s
		}
		return strings.Join(items, ","), true
	}
	return "", false
}

// place is "file:line" of key, or only the file when the line cannot be told:
// the decoder gives no positions, and this scan knows the plain forms
// "[section]" with "key =" and "section.key =".
func place(name, text, key string) string {
	table := ""
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if inner, ok := strings.CutPrefix(line, "["); ok {
			table, _, _ = strings.Cut(inner, "]")
			table = strings.TrimSpace(table) + "."
			continue
		}
		left, _, ok := strings.Cut(line, "=")
		if left = strings.Trim(strings.TrimSpace(left), `"'`); ok && (table+left == key || table == "" && left == key) {
			return name + ":" + strconv.Itoa(number)
		}
	}
	return name
}

// FromEnv takes the settings from environ, in the form of os.Environ. A
// variable of a known section with an unknown key is a mistake; a variable of
// no section is somebody else's, and so are those that Kubernetes makes for a
// service called kvstore-server and the like.
func FromEnv(environ []string) ([]Setting, error) {
	foreign := regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)$`)
	var settings []Setting
	var mistakes Errors
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, envPrefix)
		if !ok {
			continue
		}
		section, key, ok := strings.Cut(strings.ToLower(rest), "_")
		if !ok || !isSection(section) || foreign.MatchString(name) {
			continue
		}
		key = section + "." + key
		if _, known := lookup(key); !known {
			mistakes = append(mistakes, unknownKey(key, name))
			continue
		}
		settings = append(settings, Setting{Key: key, Value: value, Origin: name})
	}
	return settings, mistakes.orNil()
}

func isSection(name string) bool {
	return slices.ContainsFunc(sections(), func(s section) bool { return s.name == name })
}

// FromArgs takes every flag of the form --section.key=value or --section.key
// value out of args and returns the rest in order. Everything after "--" is
// left alone.
func FromArgs(args []string) (settings []Setting, rest []string, err error) {
	var mistakes Errors
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return settings, append(rest, args[i:]...), mistakes.orNil()
		}
		key, value, has := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[i], "-"), "-"), "=")
		if !strings.HasPrefix(args[i], "-") || !strings.Contains(key, ".") {
			rest = append(rest, args[i])
			continue
		}
		f, known := lookup(key)
		if !known {
			mistakes = append(mistakes, unknownKey(key, "flag"))
			continue
		}
		if !has {
			if i++; i == len(args) {
				mistakes = append(mistakes, &Error{Key: key, Origin: "flag", Problem: "no value given", Allowed: f.Allowed()})
				break
			}
			value = args[i]
		}
		settings = append(settings, Setting{Key: key, Value: value, Origin: "--" + key})
	}
	return settings, rest, mistakes.orNil()
}
