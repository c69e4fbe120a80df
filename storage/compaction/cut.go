package compaction

import "bytes"

// Cutter says where a compaction begins a new output.
type Cutter struct {
	cuts       [][]byte
	tableBytes int64
}

// NewCutter returns the cutter of a plan whose outputs are to have about tableBytes.
func NewCutter(p *Plan, tableBytes int64) Cutter {
	if tableBytes <= 0 {
		tableBytes = DefaultTableBytes
	}
	return Cutter{p.Cuts, tableBytes}
}

// Before reports whether an output of size bytes so far is to end before key. It is asked when the key changes, and only
// then, so that the versions of one key stay in one table; keys come ascending.
func (c *Cutter) Before(key []byte, size int64) bool {
	passed := false
	for len(c.cuts) > 0 && bytes.Compare(key, c.cuts[0]) >= 0 {
		c.cuts, passed = c.cuts[1:], true
	}
	return size > 0 && (passed || size >= c.tableBytes)
}
