package cli

import (
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txtar. A script finds in $BUSY an address
// somebody listens on, in $CLOSED one where nobody does, and in $FREE one to
// listen on, for one script alone: they run in parallel.
func TestScripts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() }) // after the scripts
	free, err := freePorts("127.0.0.1", 2)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BUSY", busy.Addr().String())
			env.Setenv("CLOSED", local(free[0]))
			env.Setenv("FREE", local(free[1]))
			return nil
		},
	})
}
