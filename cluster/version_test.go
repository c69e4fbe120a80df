package cluster

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"kvstore/cluster/membership"
	"kvstore/cluster/wire"
)

// A node whose release speaks another version of the protocol than the members is refused
// in their words, and does not ask again.
func TestAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	member, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	go func() { // ends with the one connection
		conn, err := member.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var b wire.Builder
		b.Add(&wire.Message{Kind: wire.HelloAck, Status: wire.Refused, Body: []byte("protocol version 4, this node speaks 9; run releases that speak the same")})
		if _, err := conn.Write(b.Seal()); err == nil {
			_, _ = io.Copy(io.Discard, conn) // until the dialer has read it and ends
		}
	}()
	_, err = n.askToJoin(t.Context(), membership.Meta{Name: "n9", RPC: member.Addr().String()}, methodJoin, nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "node n9: ") || !strings.Contains(err.Error(), "protocol version 4, this node speaks 9; run releases") {
		t.Errorf("it is told %v", err)
	}
}
