package rpc

import "testing"

// FuzzHandshake reads both bodies of the handshake: what is read says the same when written again.
func FuzzHandshake(f *testing.F) {
	own := Versions{Oldest, Newest}
	h := hello{versions: own, cluster: 1, node: 2, expected: 3, life: Life{4, 5}, class: Bulk}
	a := ack{version: Newest, cluster: 1, node: 2, life: Life{4, 5}}
	f.Add(h.append(nil))
	f.Add(append(a.append(nil), make([]byte, proofSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h hello
		err := h.parse(b, own)
		if _, ok := own.Common(h.versions); err == nil && ok && string(h.append(nil)) != string(b[:helloSize]) {
			t.Errorf("hello %x became %x", b, h.append(nil))
		}
		var a ack
		if err := a.parse(b); err == nil && string(a.append(nil)) != string(b[:ackSize]) {
			t.Errorf("ack %x became %x", b, a.append(nil))
		}
	})
}
