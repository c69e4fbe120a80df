// Package prefetch asks the processor for memory that will be needed soon, without waiting for it.
//
// A read of memory that is in no cache takes as long as some hundred instructions, and an atomic operation waits for all
// reads before it. Who knows early where it is going to look asks for the line, does something else, and finds it near.
// Nothing is read, so any address will do, even one that is no memory any more, and no other goroutine notices. On processors
// without such an instruction here it does nothing.
package prefetch
