// Package script puts a running server in trouble, as a process on a real file
// system with real sockets: clients that send what is not a command, never read or
// come by the thousand; nodes that are killed, start on damaged or foreign
// directories, and run out of disk.
//
// Each test states what an operator or a client sees, and that memory stays bounded
// and nothing acknowledged is lost. What needs no process is tested where it is
// built; what needs a thousand schedules, in tests/sim.
package script
