package membership

import (
	"bytes"

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
