package cluster

import (
	"strings"
	"testing"
	"time"

	"kvstore/cluster/ring"
)

func TestDoubts(t *testing.T) {
	var d doubts
	now := time.Unix(1000, 0)
	expect := func(others int, change bool, words string) {
		t.Helper()
		verdict, changed := d.judge(others, now)
		if changed != change || (words == "") != (verdict == "") || !strings.Contains(verdict, words) || d.text() != verdict {
			t.Errorf("%q, changed %v; want %q, %v", verdict, changed, words, change)
		}
	}
	expect(4, false, "")
	d.note(1, true, now)
	d.note(1, true, now)
	expect(4, false, "") // one node of four may itself be wrong
	d.note(2, false, now)
	d.note(3, true, now)
	expect(4, false, "") // so may two that do not agree with a third
	d.note(2, true, now)
	expect(4, true, "behind those of 3 of the 4 other nodes")
	expect(4, false, "behind")
	for id := ring.NodeID(1); id <= 4; id++ {
		d.note(id, false, now)
	}
	expect(4, true, "ahead of those of 4 of the 4")
	now = now.Add(doubtFor + time.Second)
	expect(4, true, "")
	d.note(1, true, now)
	expect(1, true, "behind those of 1 of the 1")
	expect(2, true, "")
}
