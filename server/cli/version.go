package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the version of this program, as in CHANGELOG.md.
const Version = "0.1.0"

func runVersion(s *shell, args []string) error {
	if err := newInvocation("version").parse(s, args); err != nil {
		return err
	}
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = " " + setting.Value[:min(12, len(setting.Value))]
			}
		}
	}
	_, err := fmt.Fprintf(s.stdout, "kvstore %s%s (%s %s/%s)\n", Version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
