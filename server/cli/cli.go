package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"kvstore/config"
)

// Exit codes of the process.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// shell is what a command sees of the world outside.
type shell struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string // as os.Environ
}

// subcommand is one row of the table of commands.
type subcommand struct {
	name    string
	usage   string // what follows the name
	summary string
	run     func(s *shell, args []string) error
}

// commands is the table, in the order of the help.
func commands() []subcommand {
	return []subcommand{
		{"server", "[--config FILE] [--section.key=value ...]", "run a node", runServer},
		{"demo", "[--nodes 3] [--port 7001] [--dir DIR] [--section.key=value ...]", "run a whole cluster on this machine", runDemo},
		{"status", "[--level | --hot [--top N]] [--json]", "show the nodes as a running node sees them, or what is hot", runStatus},
		{"ring", "[--partitions] [--json]", "show which node holds what", runRing},
		{"repair", "[--partition P] [--json]", "compare replicas now, and bring them level", runRepair},
		{"cluster", "status | plan | commit | abort | decommission NODE | remove NODE | replace OLD NEW | weight NODE W | replication N|DC=N,... | move-pause | move-resume | recover --force [flags]", "change who is in the cluster and what each node holds", runCluster},
		{"backup", "DIR [--json]", "have a running node write a backup to a new directory of its machine", runBackup},
		{"restore", "BACKUP [--all=WORD [--ring=BACKUP]] [--storage.dir=DIR]", "make a node's directory of a backup", runRestore},
		{"storage", "check | repair | inspect [FILE | DIR] [flags]", "verify, mend or show a directory that no node runs on", runStorage},
		{"config", "check [--config FILE] [--section.key=value ...]", "check the configuration and show what holds and why", runConfig},
		{"version", "", "print the version", runVersion},
		{"help", "[COMMAND | config]", "explain a command, or every configuration key", runHelp},
	}
}

// usageError is a mistake in the command line itself.
type usageError string

func (e usageError) Error() string { return string(e) }

// Main runs the command that args name and returns the exit code of the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := &shell{stdin: stdin, stdout: stdout, stderr: stderr, environ: os.Environ()}
	err := s.run(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(stderr, "kvstore: "+strings.TrimRight(line, "\n"))
	}
	if _, wrong := errors.AsType[usageError](err); wrong {
		return exitUsage
	}
	return exitFailure
}

func (s *shell) run(args []string) error {
	if len(args) == 0 {
		return errors.Join(runHelp(&shell{stdout: s.stderr}, nil), usageError("no command given"))
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-v", "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(s, args[1:])
		}
	}
	return usageError(fmt.Sprintf("there is no command %q; kvstore help lists them", name))
}

// invocation is a parsed command line: the flags of one command, besides the
// settings of config.
type invocation struct {
	*flag.FlagSet
	settings []config.Setting
}

// newInvocation begins the flags of a command. Nothing is printed by the flag
// set itself, so that every mistake is one line.
func newInvocation(name string) *invocation {
	v := &invocation{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	v.SetOutput(io.Discard)
	return v
}

// parse takes args apart that are flags and nothing else.
func (v *invocation) parse(s *shell, args []string) error { return v.parseUpTo(s, args, 0) }

// isNumber reports whether an argument is a number, although a minus before it may look
// like that of a flag.
func isNumber(arg string) bool {
	_, err := strconv.ParseFloat(arg, 64)
	return err == nil
}

// parseUpTo takes args apart: flags, and up to so many other arguments anywhere among them.
func (v *invocation) parseUpTo(s *shell, args []string, most int) error {
	settings, rest, err := config.FromArgs(args)
	if err != nil {
		return err
	}
	v.settings = settings
	var others []string
	for err = v.Parse(rest); err == nil && v.NArg() > 0; {
		others, rest = append(others, v.Arg(0)), v.Args()[1:]
		for len(rest) > 0 && isNumber(rest[0]) {
			others, rest = append(others, rest[0]), rest[1:]
		}
		err = v.Parse(rest)
	}
	if errors.Is(err, flag.ErrHelp) {
		return errors.Join(err, runHelp(s, []string{v.Name()}))
	} else if err != nil {
		return usageError(fmt.Sprintf("%s: %s; kvstore help %s explains", v.Name(), strings.Replace(err.Error(), "flag provided but not defined: -", "there is no flag --", 1), v.Name()))
	}
	if len(others) > most {
		return usageError(fmt.Sprintf("%s: unexpected argument %q; kvstore help %s explains", v.Name(), others[most], v.Name()))
	}
	return v.Parse(append([]string{"--"}, others...))
}
