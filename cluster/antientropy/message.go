package antientropy

import (
	"encoding/binary"
	"errors"

	"kvstore/cluster/hlc"
	"kvstore/cluster/replica"
	"kvstore/cluster/ring"
)

// A request begins with what it asks for, 1 byte. Integers are big endian; bytes
// are a uvarint length and the bytes; a list reaches to the end. A horizon says
// that objects dead at it (replica.Dead) count as absent.
const (
	// opStates asks how partitions stand: for each its number (2), and the asker's
	// agreed and collected horizons (8, 8). The answer: flags (1), sum (8), agreed
	// (8), collected (8), doubt (4) each.
	opStates byte = 1
	// opSums asks for the sums of leaves: ranges of from (4), to (4), parts (2).
	// The answer: for each range as many sums (8) as parts.
	opSums byte = 2
	// opList asks what is held: horizon (8), limit (4), from (bytes: an engine key),
	// then spans of from and to (8, 8). The answer: flags (1), next (bytes: the key
	// to go on from, empty at the end), then token (8) and sum (8) of each record.
	opList byte = 3
	// opSplit asks for the sums of the equal parts of one span: horizon (8), from
	// (8), to (8), parts (2). The answer: a sum (8) each.
	opSplit byte = 4
	// opFetch asks for records by token (8) and sum (8) each; where none has the
	// sum any more, all of the token. The answer: how many were looked for (4), then
	// records: key (bytes), value (bytes).
	opFetch byte = 5
	// opPull asks for all records of a span: horizon (8), from (bytes), to (8). The
	// answer: next (bytes), then records.
	opPull byte = 6
	// opPush brings records to be merged. The answer is empty.
	opPush byte = 7
	// opAgree says that a round ended equal: for each partition its number (2), the
	// doubt that its state said when the round began (4), and the horizon (8; 0 for
	// none) that may be collected once all replicas have agreed. The answer is empty.
	opAgree byte = 8
	// opCollect says that all have agreed: partition (2) and horizon (8) each.
	opCollect byte = 9
	// opHints asks which partitions have writes underway that replicas lack:
	// numbers (2). The answer: 1 or 0 (1) each.
	opHints byte = 10
	// opRebuild says that the sums of leaves, from (4) to (4), cannot be right.
	opRebuild byte = 11
	// opRepair asks for a round of a partition (2), now. The answer is a Tally:
	// keys, differing, moved (8 each), complete (1), then the reason it is not.
	opRepair byte = 12
	// opMark asks for a round of a partition (2), soon.
	opMark byte = 13
	// opHanding asks of which partitions replicas are being brought hints: numbers (2).
	// The answer: 1 or 0 (1) each.
	opHanding byte = 14
)

// Flags of a state.
const (
	flagInexact  byte = 1 << iota // its sums are not exact, or about to change by much
	flagFilling                   // it is being filled, and knows less than it should
	flagUnclean                   // it may hold what the others have collected
	flagStranger                  // it holds no replica
)

// flagHidden on a list: some records were passed over.
const flagHidden byte = 1

// errMalformed is a message that does not follow its layout.
var errMalformed = errors.New("malformed message of anti-entropy")

// pageBytes bounds the records of an answer, but for the last one, which may be
// large: a page fits one packet, and the sender waits for its turn between two.
const pageBytes = 512 << 10

// reader takes a message apart. After the first thing that does not fit, bad is
// true and everything read is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) bytes() []byte {
	n, used := binary.Uvarint(r.b)
	if r.bad || used <= 0 || n > uint64(len(r.b)-used) {
		r.bad = true
		return nil
	}
	r.b = r.b[used:]
	return r.take(int(n))
}

// more reports whether a list goes on.
func (r *reader) more() bool { return !r.bad && len(r.b) > 0 }

// token reads a token or the end of all, which is one more than the last.
func (r *reader) token() ring.Token {
	t := ring.Token(r.u64())
	if t > ring.TokenEnd {
		r.bad = true
		return 0
	}
	return t
}

func (r *reader) span() span {
	s := span{r.token(), r.token()}
	if s.lo > s.hi {
		r.bad = true
	}
	return s
}

func (r *reader) leaves() leafRange {
	l := leafRange{r.u32(), r.u32()}
	if l.lo > l.hi || l.hi > Leaves {
		r.bad = true
		return leafRange{}
	}
	return l
}

func (r *reader) horizon() hlc.Timestamp { return hlc.Timestamp(r.u64()) }

func (r *reader) records() (out []replica.Record) {
	for r.more() {
		out = append(out, replica.Record{Key: r.bytes(), Value: r.bytes()})
	}
	return out
}

func (r *reader) entries() (out []entry) {
	for r.more() {
		out = append(out, entry{r.token(), r.u64()})
	}
	return out
}

// err is the outcome of reading.
func (r *reader) err() error {
	if r.bad {
		return errMalformed
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendRecord(dst, key, value []byte) []byte { return appendBytes(appendBytes(dst, key), value) }

func appendSpan(dst []byte, s span) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.lo))
	return binary.BigEndian.AppendUint64(dst, uint64(s.hi))
}

func appendLeaves(dst []byte, l leafRange) []byte {
	dst = binary.BigEndian.AppendUint32(dst, l.lo)
	return binary.BigEndian.AppendUint32(dst, l.hi)
}

func appendEntry(dst []byte, e entry) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.token))
	return binary.BigEndian.AppendUint64(dst, e.sum)
}

// state is how a partition stands at a node.
type state struct {
	flags             byte
	sum               uint64
	agreed, collected hlc.Timestamp
	doubt             uint32
}

func (s state) append(dst []byte) []byte {
	dst = append(dst, s.flags)
	dst = binary.BigEndian.AppendUint64(dst, s.sum)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.agreed))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.collected))
	return binary.BigEndian.AppendUint32(dst, s.doubt)
}

func (r *reader) state() state {
	return state{r.byte(), r.u64(), r.horizon(), r.horizon(), r.u32()}
}
