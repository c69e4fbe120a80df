package cluster

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func TestReportCodec(t *testing.T) {
	for _, r := range []Report{
		{},
		{Planned: 1, Waiting: 2, Moving: 3, Dropping: 4, Keys: 5, AllKeys: 6, Bytes: 7, AllBytes: 8, Rate: 9.5, Left: 10 * time.Second, KeyBytes: 11.25, Free: 14, Stored: 15, Most: 16, Moves: 17, Reason: "n2 is away", Holds: []int64{12, 0, 13}},
	} {
		got, err := decodeReport(r.append(nil))
		if err != nil || !reflect.DeepEqual(*got, r) {
			t.Errorf("got %+v, %v, want %+v", got, err, r)
		}
	}
	long := Report{Reason: string(bytes.Repeat([]byte("x"), 2*maxReason))}
	if got, err := decodeReport(long.append(nil)); err != nil || len(got.Reason) != maxReason {
		t.Errorf("a long reason: %v", err)
	}
}

// What is decoded is encoded as it was, and nothing panics.
func FuzzDecodeReport(f *testing.F) {
	f.Add((&Report{Reason: "why", Holds: []int64{1, 2}}).append(nil))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err == nil && len(r.Reason) <= maxReason && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x became %x", b, r.append(nil))
		}
	})
}
