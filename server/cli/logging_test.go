package cli

import (
	"regexp"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	for format, pattern := range map[string]string{
		"json":    `^\{"level":"warn","n":1,"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[^"]+","message":"shown"\}\n$`,
		"console": `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WRN shown n=1\n$`,
	} {
		var out strings.Builder
		log, level := newLogger(&out, format, "warn")
		log.Info().Msg("below the level")
		log.Warn().Int("n", 1).Msg("shown")
		level.set("error")
		log.Warn().Msg("below the new level")
		if !regexp.MustCompile(pattern).MatchString(out.String()) {
			t.Errorf("%s: got %s, want %s", format, out.String(), pattern)
		}
	}
}
