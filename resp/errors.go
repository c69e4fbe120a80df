package resp

// Error texts as Redis words them, to be appended with redcon.AppendError.
const (
	ErrTextSyntax          = "ERR syntax error"
	ErrTextNotInteger      = "ERR value is not an integer or out of range"
	ErrTextOverflow        = "ERR increment or decrement would overflow"
	ErrTextDecrOverflow    = "ERR decrement would overflow"
	ErrTextTooLong         = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	ErrTextOffset          = "ERR offset is out of range"
	ErrTextNoSuchKey       = "ERR no such key"
	ErrTextSameObject      = "ERR source and destination objects are the same"
	ErrTextDBIndex         = "ERR DB index is out of range"
	ErrTextInvalidCursor   = "ERR invalid cursor"
	ErrTextNoProto         = "NOPROTO unsupported protocol version"
	ErrTextProtoNotInteger = "ERR Protocol version is not an integer or out of range"
	ErrTextNoAuth          = "NOAUTH Authentication required."
	ErrTextWrongPass       = "WRONGPASS invalid username-password pair or user is disabled."
	ErrTextNoPassword      = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	ErrTextMaxClients      = "ERR max number of clients reached"
	ErrTextOverloaded      = "OVERLOADED too many requests are waiting, try again later"
	ErrTextNX              = "ERR NX and XX, GT or LT options at the same time are not compatible"
	ErrTextGTLT            = "ERR GT and LT options at the same time are not compatible"
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
