package cli

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// levelWriter drops events below a level that may change while others log.
type levelWriter struct {
	io.Writer
	level atomic.Int32
}

// WriteLevel implements zerolog.LevelWriter.
func (w *levelWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if level != zerolog.NoLevel && int32(level) < w.level.Load() {
		return len(line), nil
	}
	return w.Write(line)
}

// set changes the level to one that package config has checked.
func (w *levelWriter) set(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil {
		panic("cli: " + err.Error())
	}
	w.level.Store(int32(level))
}

// newLogger logs to out in a format of log.format.
func newLogger(out io.Writer, format, level string) (zerolog.Logger, *levelWriter) {
	if format == "console" {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.DateTime + ".000", NoColor: !isTerminal(out)}
	}
	w := &levelWriter{Writer: out}
	w.set(level)
	return zerolog.New(w).Hook(zerolog.HookFunc(stamp)), w
}

// stamp adds the time in milliseconds. zerolog's own stamp has whole seconds
// unless a variable shared by the whole process says otherwise.
func stamp(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().Format("2006-01-02T15:04:05.000Z07:00"))
}

// isTerminal reports whether out is a device for people, where colour helps.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
