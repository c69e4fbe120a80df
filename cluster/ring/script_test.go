package ring

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the scripts in testdata draw into them")

// TestScripts runs the scripts in testdata. A script is blocks of commands, a
// line of dashes, and what the commands draw; blank lines are between blocks.
//
//	ring q=16 n=3                 start over
//	member ID DC RACK WEIGHT      add a member, or change one
//	leave ID                      remove a member
//	build                         make the next ring and draw it
//
// A drawing has a line for each member: P where it is first for a partition, o
// where it is another replica, an upper-case O where it is new to it, then its
// replicas and primaries. Below are what moved and the plan's notes.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.claim")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	var got []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		commands, _, _ := strings.Cut(block, "----\n")
		commands = strings.TrimRight(commands, "\n")
		var drawn strings.Builder
		for line := range strings.SplitSeq(commands, "\n") {
			s.run(t, line, &drawn)
		}
		got = append(got, commands+"\n----\n"+drawn.String())
	}
	result := strings.Join(got, "\n")
	if *update {
		if err := os.WriteFile(file, []byte(result), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if result != string(text) {
		t.Errorf("%s draws otherwise (-update accepts it):\n%s", file, result)
	}
}

// script is the state between its lines.
type script struct {
	o       Options
	members []Member
	ring    *Ring
}

func (s *script) run(t *testing.T, line string, drawn *strings.Builder) {
	t.Helper()
	words := strings.Fields(line)
	var m Member
	var err error
	switch words[0] {
	case "#":
	case "ring":
		*s = script{}
		_, err = fmt.Sscanf(line, "ring q=%d n=%d", &s.o.Partitions, &s.o.N)
	case "member":
		_, err = fmt.Sscanf(line, "member %d %s %s %g", &m.ID, &m.DC, &m.Rack, &m.Weight)
		s.members = append(s.without(m.ID), m)
	case "leave":
		_, err = fmt.Sscanf(line, "leave %d", &m.ID)
		s.members = s.without(m.ID)
	case "build":
		s.build(t, drawn)
	default:
		err = fmt.Errorf("unknown command")
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func (s *script) without(id NodeID) []Member {
	return slices.DeleteFunc(slices.Clone(s.members), func(m Member) bool { return m.ID == id })
}

func (s *script) build(t *testing.T, drawn *strings.Builder) {
	t.Helper()
	prev := s.ring
	r, plan := mustBuild(t, prev, s.members, s.o)
	checkRing(t, r, plan)
	s.ring = r
	for i := range r.Members {
		m, share := &r.Members[i], plan.PerNode[i]
		fmt.Fprintf(drawn, "%2d %s/%s x%-3g ", m.ID, m.DC, m.Rack, m.Weight)
		for p := range Partition(r.Q) {
			list := r.Replicas(p)
			switch {
			case list[0] == m.ID:
				drawn.WriteByte('P')
			case !slices.Contains(list, m.ID):
				drawn.WriteByte('.')
			case prev != nil && !prev.Holds(p, m.ID):
				drawn.WriteByte('O')
			default:
				drawn.WriteByte('o')
			}
		}
		fmt.Fprintf(drawn, " %d replicas, first for %d\n", share.After, share.Primaries)
	}
	fmt.Fprintf(drawn, "epoch %d, %d moves of at least %d\n", r.Epoch, plan.Moves(), plan.MinMoves)
	for _, note := range plan.Notes {
		fmt.Fprintln(drawn, "note:", note)
	}
}
