package command

// The functions below are the words in which the tables of commands are
// written.

func keyArg(name string) Arg             { return Arg{Name: name, Type: ArgKey} }
func keyArgAt(name string, spec int) Arg { return Arg{Name: name, Type: ArgKey, KeySpec: spec} }
func stringArg(name string) Arg          { return Arg{Name: name, Type: ArgString} }
func integerArg(name string) Arg         { return Arg{Name: name, Type: ArgInteger} }
func doubleArg(name string) Arg          { return Arg{Name: name, Type: ArgDouble} }
func patternArg(name string) Arg         { return Arg{Name: name, Type: ArgPattern} }
func timeArg(name string) Arg            { return Arg{Name: name, Type: ArgUnixTime} }

// tokenArg is a word that is there or not.
func tokenArg(name, token string) Arg { return Arg{Name: name, Type: ArgPureToken, Token: token} }

func oneOf(name string, args ...Arg) Arg { return Arg{Name: name, Type: ArgOneOf, Args: args} }
func block(name string, args ...Arg) Arg { return Arg{Name: name, Type: ArgBlock, Args: args} }

// after puts a word before the argument.
func (a Arg) after(token string) Arg { a.Token = token; return a }

func (a Arg) since(version string) Arg { a.Since = version; return a }
func (a Arg) optional() Arg            { a.Flags |= Optional; return a }
func (a Arg) multiple() Arg            { a.Flags |= Multiple; return a }

// oneKey completes the declaration of a command whose first argument is its
// only key.
func oneKey(use KeyUse, c *Command) *Command {
	c.FirstKey, c.LastKey, c.Step, c.KeyUse = 1, 1, 1, use
	return c
}

// manyKeys completes the declaration of a command whose arguments are keys,
// each with the step-1 arguments after it.
func manyKeys(use KeyUse, step int, c *Command) *Command {
	c.FirstKey, c.LastKey, c.Step, c.KeyUse = 1, -1, step, use
	return c
}
