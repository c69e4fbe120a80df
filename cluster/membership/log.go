package membership

import (
	"bytes"
	"strings"

	"github.com/rs/zerolog"
)

// logWriter turns memberlist's lines, "[LEVEL] memberlist: text", into events. What memberlist finds worth an INFO is
// of no interest to an operator who is told of members coming and going anyway: it becomes a debug event.
type logWriter struct{ log zerolog.Logger }

// Write takes one line; log.Logger never writes less or more.
func (w logWriter) Write(line []byte) (int, error) {
	level, text := zerolog.DebugLevel, bytes.TrimSpace(line)
	for tag, l := range map[string]zerolog.Level{"[WARN]": zerolog.WarnLevel, "[ERR]": zerolog.ErrorLevel, "[ERROR]": zerolog.ErrorLevel,
		"[INFO]": zerolog.DebugLevel, "[DEBUG]": zerolog.DebugLevel} {
		if rest, ok := bytes.CutPrefix(text, []byte(tag)); ok {
			level, text = l, bytes.TrimSpace(rest)
			break
		}
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	w.log.WithLevel(level).Str("from", "gossip").Msg(string(text))
	return len(line), nil
}

// oneLine is the text of an error of memberlist's, which lists several on lines
// of their own under a heading, on one line.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, "occurred:") {
			parts = append(parts, strings.TrimPrefix(line, "* "))
		}
	}
	return strings.Join(parts, "; ")
}
