package rpc

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"kvstore/cluster/ring"
	"kvstore/cluster/wire"
)

// The roles of a Hello.
const (
	rolePeer   uint8 = 1
	roleCaller uint8 = 2
)

const (
	nonceSize = 32
	proofSize = sha256.Size
	// The bodies may be longer: a later release adds to their ends, an ack's before its proof.
	rangeSize = 2 + 2
	helloSize = rangeSize + 8 + 8 + 8 + 16 + 1 + nonceSize
	ackSize   = 2 + 8 + 8 + 16 + nonceSize // before the proof
	// strangerLimit bounds a packet before its sender has proved itself; a reason for a refusal is the longest there is.
	strangerLimit = 4 << 10

	sideAccept = "kvstore accept"
	sideDial   = "kvstore dial"
)

// hello is the body of a dialer's first message, and its role.
type hello struct {
	role     uint8
	versions Versions
	cluster  uint64
	node     ring.NodeID
	expected ring.NodeID // whom the dialer means to reach, 0: anyone
	life     Life
	class    Class
	nonce    [nonceSize]byte
}

func (h *hello) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, h.versions.Newest)
	b = binary.LittleEndian.AppendUint16(b, h.versions.Oldest)
	b = binary.LittleEndian.AppendUint64(b, h.cluster)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.node))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.expected))
	b = h.life.append(b)
	b = append(b, byte(h.class))
	return append(b, h.nonce[:]...)
}

// parse reads what append wrote. If own has no version in common with it only the range is read: the rest may be anything.
func (h *hello) parse(b []byte, own Versions) error {
	if len(b) < rangeSize {
		return errors.New("hello cut short")
	}
	h.versions = Versions{Newest: binary.LittleEndian.Uint16(b), Oldest: binary.LittleEndian.Uint16(b[2:])}
	if _, ok := own.Common(h.versions); !ok {
		return nil
	}
	if len(b) < helloSize {
		return fmt.Errorf("hello of %d bytes", len(b))
	}
	b = b[rangeSize:]
	h.cluster = binary.LittleEndian.Uint64(b)
	h.node = ring.NodeID(binary.LittleEndian.Uint64(b[8:]))
	h.expected = ring.NodeID(binary.LittleEndian.Uint64(b[16:]))
	h.life.parse(b[24:])
	h.class = Class(b[40])
	copy(h.nonce[:], b[41:])
	return nil
}

func (l *Life) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, l.Incarnation), l.Since)
}

func (l *Life) parse(b []byte) {
	l.Incarnation, l.Since = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
}

// ack is the body of an acceptor's first answer.
type ack struct {
	version uint16 // the newest in common
	cluster uint64
	node    ring.NodeID
	life    Life
	nonce   [nonceSize]byte
}

func (a *ack) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, a.version)
	b = binary.LittleEndian.AppendUint64(b, a.cluster)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.node))
	b = a.life.append(b)
	return append(b, a.nonce[:]...)
}

func (a *ack) parse(b []byte) error {
	if len(b) < ackSize+proofSize {
		return fmt.Errorf("answer of %d bytes", len(b))
	}
	a.version = binary.LittleEndian.Uint16(b)
	a.cluster = binary.LittleEndian.Uint64(b[2:])
	a.node = ring.NodeID(binary.LittleEndian.Uint64(b[10:]))
	a.life.parse(b[18:])
	copy(a.nonce[:], b[34:])
	return nil
}

// prove computes a side's proof over both bodies, as they were sent: nobody between the two changes what they offer.
func prove(secret []byte, side string, role uint8, hello, ack []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(append([]byte(side), role)) // a hash takes everything
	mac.Write(hello)
	mac.Write(ack)
	return mac.Sum(nil)
}

// sendOne writes a packet of one message.
func sendOne(conn net.Conn, m *wire.Message) error {
	var b wire.Builder
	b.Add(m)
	_, err := conn.Write(b.Seal())
	return err
}

// receiveOne reads the next message, which must come alone in its packet and be of the kind given. The message is valid
// until the reader is used again.
func receiveOne(r *wire.Reader, k wire.Kind) (m wire.Message, err error) {
	for {
		messages, err := r.Next()
		if err != nil {
			return m, err
		}
		if messages == nil {
			if err := r.Fill(); err != nil {
				return m, err
			}
			continue
		}
		n, err := m.Decode(messages)
		if err != nil {
			return m, err
		}
		if n != len(messages) || m.Kind != k {
			return m, fmt.Errorf("%v where %v alone was expected", m.Kind, k)
		}
		return m, nil
	}
}

// greet is the dialer's half of the handshake, and returns the version that both speak. The connection's deadline bounds it.
func (t *Transport) greet(conn net.Conn, r *wire.Reader, h hello) (version uint16, err error) {
	h.versions, h.cluster, h.node, h.life = t.o.Versions, t.o.ClusterID(), t.o.Self, t.o.Life
	if _, err := io.ReadFull(rand.Reader, h.nonce[:]); err != nil {
		return 0, fmt.Errorf("draw a nonce: %w", err)
	}
	sent := h.append(nil)
	if err := sendOne(conn, &wire.Message{Kind: wire.Hello, Method: h.role, Epoch: t.o.Epoch(), Body: sent}); err != nil {
		return 0, fmt.Errorf("greet: %w", err)
	}
	m, err := receiveAck(r, ErrVersion)
	if err != nil {
		return 0, err
	}
	var a ack
	if err := a.parse(m.Body); err != nil {
		return 0, fmt.Errorf("read greeting: %w", err)
	}
	said, theirs := m.Body[:len(m.Body)-proofSize], m.Body[len(m.Body)-proofSize:]
	if err := t.check(&h, &a); err != nil {
		return 0, err
	}
	if !hmac.Equal(theirs, prove(t.o.Secret, sideAccept, h.role, sent, said)) {
		return 0, errors.New("the secret of the other side differs")
	}
	if h.role == rolePeer {
		if err := t.o.Admit(a.node, a.life, m.Epoch); err != nil {
			return 0, fmt.Errorf("reached node %v, and %v", a.node, err) // no refusal of this node, so nothing is wrapped
		}
	}
	proof := prove(t.o.Secret, sideDial, h.role, sent, said)
	if err := sendOne(conn, &wire.Message{Kind: wire.Hello, Method: h.role, Epoch: t.o.Epoch(), Body: proof}); err != nil {
		return 0, fmt.Errorf("prove: %w", err)
	}
	_, err = receiveAck(r, ErrDisplaced, ErrHeld, ErrNoPart)
	return a.version, err
}

// check says what is wrong with who has answered.
func (t *Transport) check(h *hello, a *ack) error {
	if a.version < h.versions.Oldest || a.version > h.versions.Newest {
		return fmt.Errorf("answered in protocol version %d, this node speaks %v", a.version, h.versions)
	}
	if h.expected != 0 && a.node != h.expected {
		return fmt.Errorf("reached node %v where %v was expected", a.node, h.expected)
	}
	if a.cluster != h.cluster && !(h.role == roleCaller && (h.cluster == 0 || a.cluster == 0)) {
		return fmt.Errorf("reached cluster %016x, this is %016x", a.cluster, h.cluster)
	}
	return nil
}

// receiveAck reads a HelloAck and turns a refusal into an error. known are the reasons that have consequences: none that
// costs the dialer its place, before the acceptor has proved itself.
func receiveAck(r *wire.Reader, known ...error) (wire.Message, error) {
	m, err := receiveOne(r, wire.HelloAck)
	if err != nil {
		return m, fmt.Errorf("read greeting: %w", err)
	}
	if m.Status != wire.OK {
		for _, reason := range known {
			if rest, ok := bytes.CutPrefix(m.Body, []byte(reason.Error())); ok {
				return m, fmt.Errorf("%w: %w%s", ErrRefused, reason, rest)
			}
		}
		return m, fmt.Errorf("%w: %s", ErrRefused, m.Body)
	}
	return m, nil
}

// receiveGreeting is the acceptor's half of the handshake. It tells the dialer why it is refused.
func (t *Transport) receiveGreeting(conn net.Conn, r *wire.Reader) (h hello, err error) {
	m, err := receiveOne(r, wire.Hello)
	if err != nil {
		return h, fmt.Errorf("read hello: %w", err)
	}
	if err := h.parse(m.Body, t.o.Versions); err != nil {
		return h, err
	}
	h.role = m.Method
	epoch, sent := m.Epoch, bytes.Clone(m.Body)
	if reason := t.objection(&h); reason != "" {
		return h, t.refuse(conn, reason)
	}
	version, _ := t.o.Versions.Common(h.versions) // there is one, or it was refused
	a := ack{version: version, cluster: t.o.ClusterID(), node: t.o.Self, life: t.o.Life}
	if _, err := io.ReadFull(rand.Reader, a.nonce[:]); err != nil {
		return h, fmt.Errorf("draw a nonce: %w", err)
	}
	said := a.append(nil)
	body := slices.Concat(said, prove(t.o.Secret, sideAccept, h.role, sent, said))
	if err := sendOne(conn, &wire.Message{Kind: wire.HelloAck, Epoch: t.o.Epoch(), Body: body}); err != nil {
		return h, fmt.Errorf("answer hello: %w", err)
	}
	m, err = receiveOne(r, wire.Hello)
	if err != nil {
		return h, fmt.Errorf("read proof: %w", err)
	}
	if !hmac.Equal(m.Body, prove(t.o.Secret, sideDial, h.role, sent, said)) {
		return h, t.refuse(conn, "the secret is missing or another")
	}
	if h.role == rolePeer {
		if err := t.o.Admit(h.node, h.life, epoch); err != nil {
			return h, t.refuse(conn, err.Error())
		}
	}
	return h, sendOne(conn, &wire.Message{Kind: wire.HelloAck, Epoch: t.o.Epoch()})
}

// objection says why a dialer is not let in, "" when it may prove itself.
func (t *Transport) objection(h *hello) string {
	own := t.o.ClusterID()
	_, spoken := t.o.Versions.Common(h.versions)
	switch {
	case !spoken:
		return fmt.Sprintf("%v %v, this node speaks %v; run releases that have one in common", ErrVersion, h.versions, t.o.Versions)
	case h.expected != 0 && h.expected != t.o.Self:
		return fmt.Sprintf("this is node %v, not %v", t.o.Self, h.expected)
	case h.class >= classes:
		return fmt.Sprintf("unknown class %d", h.class)
	case h.role == roleCaller && (h.cluster == 0 || own == 0): // one of them is about to join
		return ""
	case h.role != rolePeer && h.role != roleCaller:
		return fmt.Sprintf("unknown role %d", h.role)
	case own == 0 && h.role == rolePeer:
		return "this node belongs to no cluster yet"
	case h.cluster != own:
		return fmt.Sprintf("cluster %016x, this node belongs to %016x", h.cluster, own)
	case h.role == rolePeer && h.node == t.o.Self:
		return "the dialer has the id of this node"
	case h.role == rolePeer && h.node == 0:
		return "the dialer has no id"
	}
	return ""
}

// refuse tells the dialer, and returns the same as an error.
func (t *Transport) refuse(conn net.Conn, reason string) error {
	// The dialer may be gone already; what matters is the error for our log.
	_ = sendOne(conn, &wire.Message{Kind: wire.HelloAck, Status: wire.Refused, Epoch: t.o.Epoch(), Body: []byte(reason)})
	return fmt.Errorf("%w: %s", ErrRefused, reason)
}
