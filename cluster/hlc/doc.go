// Package hlc is the hybrid logical clock that names write events (Kulkarni et
// al., Logical Physical Clocks, 2014): physical milliseconds where they
// suffice, logic where two events share one or the physical clock stands or
// falls.
//
// # One timestamp
//
//	0x018bcfe568000007 = 1700000000000 ms (48 bits) ‖ 7 (16 bits)
//
// Now returns the physical clock, or one more than the last timestamp when
// that is greater. The 65536th event of a millisecond thereby carries into the
// next millisecond. Observe moves the clock past a timestamp of another node,
// so an event is always later than what it has seen.
//
// # Never the same timestamp twice
//
// A timestamp together with its node names a write event for ever, so no two
// lives of a node may issue the same one, even when the physical clock was set
// back between them. The clock issues nothing beyond a bound that Reserve made
// durable, and a restart begins above that bound:
//
//	physical      bound on disk
//	   |<- window ----->|
//	...t t t t          |          life 1, killed here
//	                    |t t t     life 2, begins above the bound
//
// The owner of a clock extends the bound in the background, by a ticker that
// asks Low and calls Extend, long before it is reached, and reserves further
// ahead where the disk is slow. When it is reached all the same, Now writes a
// bound itself, or, where Options.Kept says that it must not wait for the disk,
// wakes the owner and soon gives up with ErrReserving. A life that begins ahead of its physical clock shows it in
// Lead; its peers refuse what is more than MaxAhead ahead, so the owner waits
// until Lead is below that before it coordinates writes.
package hlc
