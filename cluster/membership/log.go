package membership

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// logWriter turns memberlist's lines, "[LEVEL] memberlist: text", into events. What memberlist finds worth an INFO is
// of no interest to an operator who is told of members coming and going anyway: it becomes a debug event. So does what
// nodes of other clusters cause, who try again and again, after it was said once in sayAgain.
type logWriter struct {
	log zerolog.Logger
	now func() time.Time

	mu        sync.Mutex
	strangers complaints // guarded by mu
}

// Write takes one line; log.Logger never writes less or more.
func (w *logWriter) Write(line []byte) (int, error) {
	level, text := zerolog.DebugLevel, bytes.TrimSpace(line)
	for tag, l := range map[string]zerolog.Level{"[WARN]": zerolog.WarnLevel, "[ERR]": zerolog.ErrorLevel, "[ERROR]": zerolog.ErrorLevel,
		"[INFO]": zerolog.DebugLevel, "[DEBUG]": zerolog.DebugLevel} {
		if rest, ok := bytes.CutPrefix(text, []byte(tag)); ok {
			level, text = l, bytes.TrimSpace(rest)
			break
		}
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	if why, mend := strangeness(text); why != noObstacle {
		if level = zerolog.DebugLevel; w.strangerDue(why) {
			level = zerolog.WarnLevel
			text = append(text, mend...)
		}
	}
	w.log.WithLevel(level).Str("from", "gossip").Msg(string(text))
	return len(line), nil
}

// strangeness says what keeps a node out that this line is about, and what its operator is to do.
func strangeness(line []byte) (why obstacle, mend string) {
	has := func(text string) bool { return bytes.Contains(line, []byte(text)) }
	switch {
	case has("unacceptable label"):
		return hungUp, "; a node of another cluster.name has this one in its cluster.join"
	case has("installed keys could decrypt"), has("encryption is configured"), has("encryption is not configured"):
		return otherKey, "; a node of another cluster.secret, or of none, has this one in its cluster.join"
	case has("set node.name"):
		return otherName, ""
	}
	return noObstacle, ""
}

// strangerDue reports whether a node that is kept out is worth a warning now.
func (w *logWriter) strangerDue(why obstacle) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.strangers == nil {
		w.strangers = complaints{}
	}
	return w.strangers.due(why, w.now())
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
