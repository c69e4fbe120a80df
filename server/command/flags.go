package command

// Flags are what the server and clients need to know of a command before it
// runs.
type Flags uint32

// The flags, in the order and with the names COMMAND INFO gives them.
const (
	Write           Flags = 1 << iota // may change keys
	ReadOnly                          // reads keys, changes none
	DenyOOM                           // refused when the node has no room for data
	Module                            // never set: there are no modules
	Admin                             // for operators
	PubSub                            // never set: there is no publish and subscribe
	NoScript                          // not for scripts
	Blocking                          // may keep the client waiting
	Loading                           // served while the node is starting
	Stale                             // served while the node is not in a ring
	SkipMonitor                       // not shown to MONITOR
	SkipSlowlog                       // not written to the slow log
	Asking                            // served for a slot that is being moved in
	Fast                              // constant time
	NoAuth                            // served before AUTH
	NoMandatoryKeys                   // its keys are optional
	NoAsyncLoading                    // not served while a data set is swapped in
	NoMulti                           // not allowed in a transaction
	MovableKeys                       // its keys are not all at fixed places
	AllowBusy                         // served while a script runs too long
)

var flagNames = [...]string{"write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking",
	"loading", "stale", "skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "no_mandatory_keys",
	"no_async_loading", "no_multi", "movablekeys", "allow_busy"}

// Categories are ACL categories.
type Categories uint32

// The categories, in Redis's order.
const (
	CatKeyspace Categories = 1 << iota
	CatRead
	CatWrite
	CatSet
	CatSortedSet
	CatList
	CatHash
	CatString
	CatBitmap
	CatHyperLogLog
	CatGeo
	CatStream
	CatPubSub
	CatAdmin
	CatFast
	CatSlow
	CatBlocking
	CatDangerous
	CatConnection
	CatTransaction
	CatScripting
)

var categoryNames = [...]string{"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
	"hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection",
	"transaction", "scripting"}

// implied are the categories that follow from flags.
func (f Flags) implied() Categories {
	var c Categories
	if f&Write != 0 {
		c |= CatWrite
	}
	if f&ReadOnly != 0 {
		c |= CatRead
	}
	if f&Admin != 0 {
		c |= CatAdmin | CatDangerous
	}
	if f&PubSub != 0 {
		c |= CatPubSub
	}
	if f&Blocking != 0 {
		c |= CatBlocking
	}
	if f&Fast != 0 {
		return c | CatFast
	}
	return c | CatSlow
}

// bitNames lists the names of the bits set in bits, lowest first.
func bitNames(bits uint32, names []string) []string {
	var out []string
	for i, name := range names {
		if bits&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}
