package command

import (
	"slices"
	"strconv"
	"time"

	"kvstore/resp"
)

// allClientsCommands are about every connection of the node.
func allClientsCommands() []*Command {
	const flags = clientCommandFlags | Admin
	clientType := oneOf("client-type", tokenArg("normal", "NORMAL"), tokenArg("master", "MASTER"),
		tokenArg("replica", "REPLICA"), tokenArg("pubsub", "PUBSUB")).after("TYPE")
	return []*Command{
		{
			Name: "list", Arity: -2, Flags: flags, Since: "2.4.0", Tips: []string{"nondeterministic_output"},
			Complexity: "O(N) where N is the number of client connections",
			History: []Change{{"2.8.12", "Shows `id`."}, {"5.0.0", "Added `TYPE`."},
				{"6.2.0", "Added `ID`; shows `laddr`."}, {"7.2.0", "Shows `lib-name` and `lib-ver`."}},
			Summary: "Lists the connections of this node.",
			Args:    []Arg{clientType.since("5.0.0").optional(), integerArg("client-id").after("ID").since("6.2.0").optional().multiple()},
			Local:   runClientList,
		},
		{
			Name: "kill", Arity: -3, Flags: flags, Since: "2.4.0",
			Complexity: "O(N) where N is the number of client connections",
			History: []Change{{"2.8.12", "Added filters."}, {"3.2.0", "Added the type `master`."},
				{"6.2.0", "Added `LADDR`."}},
			Summary: "Closes connections of this node.",
			Args: []Arg{oneOf("filter", stringArg("old-format"), block("new-format",
				integerArg("client-id").after("ID").optional(), clientType.optional(),
				stringArg("username").after("USER").optional(), stringArg("addr").after("ADDR").optional(),
				stringArg("laddr").after("LADDR").since("6.2.0").optional(),
				oneOf("skipme", tokenArg("yes", "YES"), tokenArg("no", "NO")).after("SKIPME").optional(),
				integerArg("maxage").after("MAXAGE").optional()).multiple())},
			Local: runClientKill,
		},
	}
}

// clientFilter chooses clients for CLIENT LIST and CLIENT KILL. The zero filter
// takes all.
type clientFilter struct {
	ids         []uint64
	addr, laddr string
	other       bool // only clients of a type that does not exist here
	maxAge      time.Duration
	keepSelf    bool
}

func (f *clientFilter) takes(s *Session, self uint64, now time.Time) bool {
	return !f.other &&
		(f.ids == nil || containsID(f.ids, s.ID)) &&
		(f.addr == "" || f.addr == s.Addr) &&
		(f.laddr == "" || f.laddr == s.LAddr) &&
		(f.maxAge == 0 || now.Sub(s.Created) >= f.maxAge) &&
		!(f.keepSelf && s.ID == self)
}

func containsID(ids []uint64, id uint64) bool {
	return slices.Contains(ids, id)
}

// parseType reads a type of client, of which only normal ones exist.
func (f *clientFilter) parseType(word []byte) bool {
	switch {
	case equalFold(word, "normal"):
	case equalFold(word, "master"), equalFold(word, "replica"), equalFold(word, "slave"), equalFold(word, "pubsub"):
		f.other = true
	default:
		return false
	}
	return true
}

func (c *Ctx) unknownClientType(word []byte) {
	c.errorAbout("ERR Unknown client type '", word, "'")
}

func runClientInfo(c *Ctx) {
	line := appendClient(nil, &ClientInfo{Session: *c.Session}, time.Now())
	c.Out = resp.AppendVerbatim(c.Out, c.Session.Proto, "txt", string(line))
}

func runClientList(c *Ctx) {
	var f clientFilter
	switch args := c.Args[2:]; {
	case len(args) == 0:
	case equalFold(args[0], "type") && len(args) == 2:
		if !f.parseType(args[1]) {
			c.unknownClientType(args[1])
			return
		}
	case equalFold(args[0], "id") && len(args) > 1:
		for _, a := range args[1:] {
			id, ok := resp.ParseInt64(a)
			if !ok {
				c.Error("ERR Invalid client ID")
				return
			}
			f.ids = append(f.ids, uint64(id))
		}
	default:
		c.Error(resp.ErrTextSyntax)
		return
	}
	var text []byte
	now := time.Now()
	for _, client := range c.Env.Clients.List() {
		if client.ID == c.Session.ID {
			client.Session = *c.Session // fresher than the copy
		}
		if f.takes(&client.Session, 0, now) {
			text = appendClient(text, &client, now)
		}
	}
	c.Out = resp.AppendVerbatim(c.Out, c.Session.Proto, "txt", string(text))
}

// appendClient appends a line of CLIENT LIST. What has no meaning here has the
// value an idle Redis shows.
func appendClient(dst []byte, client *ClientInfo, now time.Time) []byte {
	s := &client.Session
	number := func(name string, n int64) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	text := func(name, value string) { dst = append(append(dst, name...), value...) }
	number("id=", int64(s.ID))
	text(" addr=", s.Addr)
	text(" laddr=", s.LAddr)
	text(" fd=-1 name=", s.Name)
	number(" age=", secondsSince(s.Created, now))
	number(" idle=", secondsSince(s.LastActive, now))
	text(" flags=", clientFlags(client))
	number(" db=", int64(s.DB))
	text(" sub=0 psub=0 ssub=0 multi=-1", "")
	number(" qbuf=", int64(s.QueryBytes))
	text(" qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0", "")
	number(" omem=", int64(s.OutputBytes))
	number(" tot-mem=", int64(s.QueryBytes+s.OutputBytes))
	text(" events=r cmd=", lastCommand(s))
	text(" user=", defaultUser)
	number(" redir=-1 resp=", int64(s.Proto))
	text(" lib-name=", s.LibName)
	text(" lib-ver=", s.LibVer)
	return append(dst, '\n')
}

func secondsSince(t, now time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, int64(now.Sub(t)/time.Second))
}

func lastCommand(s *Session) string {
	if s.LastCommand == nil {
		return "NULL"
	}
	return s.LastCommand.FullName()
}

func clientFlags(client *ClientInfo) string {
	var flags []byte
	for _, f := range [...]struct {
		set  bool
		flag byte
	}{{client.Blocked, 'b'}, {client.Close, 'c'}, {client.ReadOnly, 'r'}, {client.NoEvict, 'e'}, {client.NoTouch, 'T'}} {
		if f.set {
			flags = append(flags, f.flag)
		}
	}
	if flags == nil {
		return "N"
	}
	return string(flags)
}

func runClientKill(c *Ctx) {
	f := clientFilter{keepSelf: true}
	old := len(c.Args) == 3
	if old {
		f.addr, f.keepSelf = string(c.Args[2]), false
		if f.addr == "" {
			c.Error("ERR No such client")
			return
		}
	} else if !f.parseKill(c) {
		return
	}
	now := time.Now()
	killed := int64(0)
	for _, client := range c.Env.Clients.List() {
		if f.takes(&client.Session, c.Session.ID, now) && c.Env.Clients.Kill(client.ID) {
			killed++
		}
	}
	switch {
	case !old:
		c.Int(killed)
	case killed == 0:
		c.Error("ERR No such client")
	default:
		c.OK()
	}
}

// parseKill reads the filters of CLIENT KILL; when they are wrong it replies
// so.
func (f *clientFilter) parseKill(c *Ctx) bool {
	args := c.Args[2:]
	for ; len(args) >= 2; args = args[2:] {
		value := args[1]
		switch {
		case equalFold(args[0], "id"):
			id, ok := resp.ParseInt64(value)
			if !ok || id < 1 {
				c.Error("ERR client-id should be greater than 0")
				return false
			}
			f.ids = []uint64{uint64(id)}
		case equalFold(args[0], "maxage"):
			age, ok := resp.ParseInt64(value)
			if !ok {
				c.Error("ERR maxage is not an integer or out of range")
				return false
			}
			if age <= 0 {
				c.Error("ERR maxage should be greater than 0")
				return false
			}
			f.maxAge = time.Duration(min(age, int64(maxClientAge/time.Second))) * time.Second
		case equalFold(args[0], "type"):
			if !f.parseType(value) {
				c.unknownClientType(value)
				return false
			}
		case equalFold(args[0], "addr"):
			f.addr = string(value)
		case equalFold(args[0], "laddr"):
			f.laddr = string(value)
		case equalFold(args[0], "user"):
			if string(value) != defaultUser {
				c.errorAbout("ERR No such user '", value, "'")
				return false
			}
		case equalFold(args[0], "skipme") && equalFold(value, "yes"):
			f.keepSelf = true
		case equalFold(args[0], "skipme") && equalFold(value, "no"):
			f.keepSelf = false
		default:
			c.Error(resp.ErrTextSyntax)
			return false
		}
	}
	if len(args) > 0 {
		c.Error(resp.ErrTextSyntax)
		return false
	}
	return true
}

// maxClientAge keeps MAXAGE within a time.Duration: no connection is older than
// a century.
const maxClientAge = 100 * 365 * 24 * time.Hour
