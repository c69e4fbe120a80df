package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"kvstore/cluster/wire"
)

const limit, largest = wire.DefaultPacketLimit, wire.MaxMessage

// readAll returns every message's ID of a stream of Pings and Replicates.
func readAll(src io.Reader, limit, largest int) (ids []uint64, err error) {
	r := wire.NewReader(src, limit, largest)
	return idsOf(r, r.Fill, func() {})
}

// lendAll is readAll that reads by itself, always into the same buffer.
func lendAll(src io.Reader, limit, largest int) (ids []uint64, err error) {
	r := wire.NewReader(nil, limit, largest)
	buffer := make([]byte, 10_000)
	return idsOf(r, func() error {
		n, err := src.Read(buffer)
		if n > 0 {
			r.Lend(buffer[:n])
			return nil
		}
		return err
	}, func() {
		r.Keep()
		clear(buffer)
	})
}

func idsOf(r *wire.Reader, fill func() error, keep func()) (ids []uint64, err error) {
	var m wire.Message
	for {
		if err := fill(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return ids, err
		}
		for {
			messages, err := r.Next()
			if err != nil {
				return ids, err
			}
			if messages == nil {
				keep()
				break
			}
			for len(messages) > 0 {
				n, err := m.Decode(messages)
				if err != nil {
					return ids, err
				}
				ids = append(ids, m.ID)
				messages = messages[n:]
			}
		}
	}
}

func TestStreamHoweverItIsCut(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 2))
	var stream []byte
	var b wire.Builder
	next := uint64(1)
	for range 200 {
		for range 1 + rnd.IntN(20) {
			m := wire.Message{Kind: wire.Replicate, ID: next, Object: make([]byte, rnd.IntN(1<<rnd.IntN(18)))}
			b.Add(&m)
			next++
		}
		stream = append(stream, b.Seal()...)
		b.Reset(1 << 10)
	}
	for name, c := range map[string]struct {
		read func(src io.Reader, limit, largest int) ([]uint64, error)
		src  io.Reader
	}{
		"whole":           {readAll, bytes.NewReader(stream)},
		"by halves":       {readAll, iotest.HalfReader(bytes.NewReader(stream))},
		"by bytes":        {readAll, iotest.OneByteReader(bytes.NewReader(stream))},
		"at random":       {readAll, &randomReader{bytes.NewReader(stream), rnd}},
		"lent whole":      {lendAll, bytes.NewReader(stream)},
		"lent by bytes":   {lendAll, iotest.OneByteReader(bytes.NewReader(stream))},
		"lent at random":  {lendAll, &randomReader{bytes.NewReader(stream), rnd}},
		"lent by a third": {lendAll, &cutReader{bytes.NewReader(stream), 3333}},
	} {
		ids, err := c.read(c.src, limit, largest)
		if err != nil || len(ids) != int(next-1) {
			t.Fatalf("seed %d: %s: %d of %d messages: %v", seed, name, len(ids), next-1, err)
		}
		for i, id := range ids {
			if id != uint64(i+1) {
				t.Fatalf("seed %d: %s: message %d at place %d", seed, name, id, i)
			}
		}
	}
}

type randomReader struct {
	src io.Reader
	rnd *rand.Rand
}

func (r *randomReader) Read(b []byte) (int, error) {
	return r.src.Read(b[:min(len(b), 1+r.rnd.IntN(5000))])
}

func packet(messages []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(messages)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(messages, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, messages...)
}

func TestPacketLayout(t *testing.T) {
	m := wire.Message{Kind: wire.Ping, ID: 5}
	var b wire.Builder
	b.Add(&m)
	b.Add(&m)
	if b.Count() != 2 {
		t.Errorf("count %d", b.Count())
	}
	if got, want := b.Seal(), packet(wire.Append(wire.Append(nil, &m), &m)); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := b.Seal(); len(got) != b.Len() {
		t.Error("sealing twice changed the packet")
	}
}

func TestBadPackets(t *testing.T) {
	ping := wire.Append(nil, &wire.Message{Kind: wire.Ping, ID: 5})
	big := wire.Append(nil, &wire.Message{Kind: wire.Control, Body: make([]byte, 1<<20)})
	flipped := packet(ping)
	flipped[10] ^= 1
	for _, c := range []struct {
		name           string
		stream         []byte
		limit, largest int
		want           error
		read           int
	}{
		{"good", packet(ping), limit, largest, nil, 1},
		{"flipped bit", flipped, limit, largest, wire.ErrDamaged, 0},
		{"empty", make([]byte, 8), limit, largest, wire.ErrDamaged, 0},
		{"cut in the header", packet(ping)[:5], limit, largest, io.ErrUnexpectedEOF, 0},
		{"cut in the messages", packet(ping)[:12], limit, largest, io.ErrUnexpectedEOF, 0},
		{"second cut", append(packet(ping), packet(ping)[:12]...), limit, largest, io.ErrUnexpectedEOF, 1},
		{"one large message", packet(big), 1 << 10, 2 << 20, nil, 1},
		{"several over the limit", packet(append(append([]byte{}, big...), ping...)), 1 << 10, 2 << 20, wire.ErrTooLong, 0},
		{"over the largest", packet(big), 1 << 10, 1 << 10, wire.ErrTooLong, 0},
		{"claims 4 GiB", bytes.Repeat([]byte{0xff}, 100), limit, largest, wire.ErrTooLong, 0},
	} {
		ids, err := readAll(bytes.NewReader(c.stream), c.limit, c.largest)
		if !errors.Is(err, c.want) || len(ids) != c.read {
			t.Errorf("%s: %d messages, error %v; want %d, %v", c.name, len(ids), err, c.read, c.want)
		}
	}
}

// A header that claims much must not make the reader take much.
func TestReaderGrowsWithWhatArrives(t *testing.T) {
	header := binary.LittleEndian.AppendUint32(nil, 512<<20)
	stream := append(append(header, 1, 2, 3, 4), make([]byte, 300<<10)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ids, err := readAll(bytes.NewReader(stream), limit, largest)
	runtime.ReadMemStats(&after)
	if len(ids) != 0 || err != io.ErrUnexpectedEOF {
		t.Fatal(ids, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 3<<20 {
		t.Errorf("%d bytes allocated for %d that arrived", took, len(stream))
	}
}

func FuzzReader(f *testing.F) {
	ping := wire.Append(nil, &wire.Message{Kind: wire.Ping, ID: 5})
	f.Add(packet(ping), uint8(3))
	f.Add(append(packet(ping), packet(append(ping, ping...))...), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		whole, errWhole := readAll(bytes.NewReader(stream), 1<<10, 1<<12)
		parts, errParts := readAll(&cutReader{bytes.NewReader(stream), int(cut) + 1}, 1<<10, 1<<12)
		if len(whole) != len(parts) || fmt.Sprint(errWhole) != fmt.Sprint(errParts) {
			t.Fatalf("whole: %d messages, %v; in parts: %d, %v", len(whole), errWhole, len(parts), errParts)
		}
		if errWhole == io.ErrUnexpectedEOF {
			errWhole = nil // who reads by himself sees where the stream ends
		}
		lent, errLent := lendAll(&cutReader{bytes.NewReader(stream), int(cut) + 1}, 1<<10, 1<<12)
		if len(whole) != len(lent) || fmt.Sprint(errWhole) != fmt.Sprint(errLent) {
			t.Fatalf("whole: %d messages, %v; lent: %d, %v", len(whole), errWhole, len(lent), errLent)
		}
	})
}

type cutReader struct {
	src io.Reader
	n   int
}

func (r *cutReader) Read(b []byte) (int, error) { return r.src.Read(b[:min(len(b), r.n)]) }
