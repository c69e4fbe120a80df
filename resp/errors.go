package resp

// Error texts as Redis words them, to be appended with redcon.AppendError.
const (
	ErrTextSyntax            = "ERR syntax error"
	ErrTextNotInteger        = "ERR value is not an integer or out of range"
	ErrTextNotFloat          = "ERR value is not a valid float"
	ErrTextMinMaxNotFloat    = "ERR min or max is not a float"
	ErrTextNotPositive       = "ERR value is out of range, must be positive"
	ErrTextOutOfRange        = "ERR value is out of range"
	ErrTextOverflow          = "ERR increment or decrement would overflow"
	ErrTextDecrOverflow      = "ERR decrement would overflow"
	ErrTextNotFinite         = "ERR increment would produce NaN or Infinity"
	ErrTextTooLong           = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	ErrTextOffset            = "ERR offset is out of range"
	ErrTextNoSuchKey         = "ERR no such key"
	ErrTextSameObject        = "ERR source and destination objects are the same"
	ErrTextIndex             = "ERR index out of range"
	ErrTextDBIndex           = "ERR DB index is out of range"
	ErrTextInvalidDB         = "ERR invalid DB index"
	ErrTextInvalidCursor     = "ERR invalid cursor"
	ErrTextNoProto           = "NOPROTO unsupported protocol version"
	ErrTextProtoNotInteger   = "ERR Protocol version is not an integer or out of range"
	ErrTextWrongType         = "WRONGTYPE Operation against a key holding the wrong kind of value"
	ErrTextNoAuth            = "NOAUTH Authentication required."
	ErrTextWrongPass         = "WRONGPASS invalid username-password pair or user is disabled."
	ErrTextNoPassword        = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	ErrTextMaxClients        = "ERR max number of clients reached"
	ErrTextOverloaded        = "OVERLOADED too many requests are waiting, try again later"
	ErrTextLoading           = "LOADING the node is not in a ring yet"
	ErrTextNX                = "ERR NX and XX, GT or LT options at the same time are not compatible"
	ErrTextGTLT              = "ERR GT and LT options at the same time are not compatible"
	ErrTextUnknownSubcommand = "ERR unknown subcommand '%.128s'. Try %s HELP."
	ErrTextInvalidExpire     = "ERR invalid expire time in '%s' command"
	ErrTextArity             = "ERR wrong number of arguments for '%s' command"
)

// ProtocolError is why a connection's input cannot be understood. The
// connection is closed once its text was sent.
type ProtocolError struct {
	Reason string // after "Protocol error: "
}

func (e *ProtocolError) Error() string { return "Protocol error: " + e.Reason }

// AppendProtocolError appends err as Redis words it.
func AppendProtocolError(out []byte, err error) []byte {
	out = append(out, "-ERR "...)
	for _, c := range []byte(err.Error()) {
		if c == '\r' || c == '\n' { // a line break would end the reply
			c = ' '
		}
		out = append(out, c)
	}
	return append(out, '\r', '\n')
}
