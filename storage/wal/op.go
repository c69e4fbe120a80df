package wal

import "encoding/binary"

// OpKind says what an operation of the engine's log does. The values are written to files and must not change.
type OpKind uint8

const (
	// OpDelete deletes a key.
	OpDelete OpKind = 0
	// OpSet gives a key its value.
	OpSet OpKind = 1
	// OpDeleteRange deletes the keys from Key up to and without Value.
	OpDeleteRange OpKind = 2
	// OpSetSum and OpDeleteSum are OpSet and OpDelete with what they change the sum of the key's leaf by.
	OpSetSum    OpKind = 3
	OpDeleteSum OpKind = 4
)

// FormatOps is the record format whose payload is a run of operations, each with the sequence number after the one
// before:
//
//	kind     1 byte
//	key      length (uvarint)
//	value    length (uvarint); a deletion has none, a range deletion's is its upper bound
//	delta    8 bytes, of OpSetSum and OpDeleteSum alone
//	key, value
const FormatOps uint8 = 1

// Op is one decoded operation. Its slices point into what it was decoded from.
type Op struct {
	Kind       OpKind
	Key, Value []byte
	// Delta is what the operation changes the sum of the key's leaf by.
	Delta uint64
}

// OpOverhead bounds what an operation takes beside its key and value.
const OpOverhead = 1 + 2*binary.MaxVarintLen32 + 8

// AppendOp appends an operation to dst.
func AppendOp(dst []byte, kind OpKind, key, value []byte) []byte {
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	if kind != OpDelete {
		dst = binary.AppendUvarint(dst, uint64(len(value)))
	}
	dst = append(dst, key...)
	if kind != OpDelete {
		dst = append(dst, value...)
	}
	return dst
}

// AppendSumOp is AppendOp of an OpSet or OpDelete that becomes an OpSetSum or OpDeleteSum.
func AppendSumOp(dst []byte, kind OpKind, key, value []byte, delta uint64) []byte {
	if kind == OpSet {
		kind = OpSetSum
	} else {
		kind = OpDeleteSum
	}
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	if kind != OpDeleteSum {
		dst = binary.AppendUvarint(dst, uint64(len(value)))
	}
	dst = binary.LittleEndian.AppendUint64(dst, delta)
	dst = append(dst, key...)
	return append(dst, value...)
}

// NextOp decodes the first operation of ops and returns the rest. It is not ok when ops does not begin with a whole
// one.
func NextOp(ops []byte) (op Op, rest []byte, ok bool) {
	if len(ops) == 0 || ops[0] > byte(OpDeleteSum) {
		return Op{}, nil, false
	}
	op.Kind = OpKind(ops[0])
	ops = ops[1:]
	keyLength, n := binary.Uvarint(ops)
	if n <= 0 {
		return Op{}, nil, false
	}
	ops = ops[n:]
	var valueLength uint64
	if op.Kind != OpDelete && op.Kind != OpDeleteSum {
		if valueLength, n = binary.Uvarint(ops); n <= 0 {
			return Op{}, nil, false
		}
		ops = ops[n:]
	}
	if op.Kind >= OpSetSum {
		if len(ops) < 8 {
			return Op{}, nil, false
		}
		op.Delta = binary.LittleEndian.Uint64(ops)
		ops = ops[8:]
	}
	if keyLength > uint64(len(ops)) || valueLength > uint64(len(ops))-keyLength {
		return Op{}, nil, false
	}
	end := keyLength + valueLength
	op.Key = ops[:keyLength:keyLength]
	op.Value = ops[keyLength:end:end]
	return op, ops[end:], true
}
