package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"kvstore/config"
)

// defaultFile is read from the working directory when no file is named.
const defaultFile = "kvstore.toml"

func runConfig(s *shell, args []string) error {
	if len(args) == 0 || args[0] != "check" {
		return usageError("config: want kvstore config check")
	}
	v := newInvocation("config")
	file := v.String("config", "", "")
	if err := v.parse(s, args[1:]); err != nil {
		return err
	}
	c, _, err := s.load(*file, v.settings)
	if err != nil {
		return err
	}
	for _, line := range c.Describe() {
		fmt.Fprintln(s.stdout, line)
	}
	return nil
}

// load reads the configuration from file (empty: KVSTORE_CONFIG, else
// kvstore.toml if it exists), the environment and flags. It also returns the
// name of the file that was read, or "".
func (s *shell) load(file string, flags []config.Setting) (*config.Config, string, error) {
	origin := "--config"
	if file == "" {
		file, origin = s.getenv("KVSTORE_CONFIG"), "KVSTORE_CONFIG"
	}
	if _, err := os.Stat(defaultFile); file == "" && err == nil {
		file = defaultFile
	}
	var fromFile []config.Setting
	var err error
	if file != "" {
		fromFile, err = config.ReadFile(file)
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s = %q: %w; name another file, or leave it out for the defaults", origin, file, p.Err)
		}
		if err != nil {
			return nil, "", err
		}
	}
	fromEnv, err := config.FromEnv(s.environ)
	if err != nil {
		return nil, "", err
	}
	c, err := config.Load(fromFile, fromEnv, flags)
	return c, file, err
}

func (s *shell) getenv(name string) string {
	for _, variable := range s.environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// adminListen is the admin.listen to ask.
func (s *shell) adminListen(file string, flags []config.Setting) (string, error) {
	c, _, err := s.load(file, flags)
	if err != nil {
		return "", err
	}
	if c.Admin.Listen == "" {
		return "", errors.New(`admin.listen = "" (` + c.Origin("admin.listen") + `): the node's HTTP server is off; name another with --admin.listen=HOST:PORT`)
	}
	return c.Admin.Listen, nil
}
