package cli

import (
	"net"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txtar. A script finds in $BUSY an address
// somebody listens on, in $CLOSED one where nobody does, and in $FREE1 to $FREE8
// some to listen on, for itself alone: they run in parallel.
func TestScripts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() }) // after the scripts
	closed, err := freePorts("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BUSY", busy.Addr().String())
			env.Setenv("CLOSED", local(closed[0]))
			free, err := freePorts("127.0.0.1", 8)
			for i, port := range free {
				env.Setenv("FREE"+strconv.Itoa(i+1), local(port))
			}
			return err
		},
	})
}
