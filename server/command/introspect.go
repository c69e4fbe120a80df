package command

import "strings"

// introspectionCommands is COMMAND.
func introspectionCommands() []*Command { return nil }

func upper(s string) string { return strings.ToUpper(s) }
