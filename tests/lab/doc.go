// Package lab makes a network of this machine, for tests of real processes under
// faults: hosts, each a network namespace, on one switch that the test controls.
//
// # The switch
//
// Each host has one interface, a TAP device whose other end the test program
// holds. What a host sends, the switch delivers, delays, or loses, by the rule of
// that pair of hosts and that direction. So a link can be cut both ways or one way,
// delayed and lossy, at once and without a trace: a packet that is cut is not
// refused, it is gone, as on a broken switch. A delay without jitter keeps the order, as a
// long line does, and what was sent is counted (Sent). This needs no module of the kernel
// but tun, and no tool but ip. Addresses of the data link are set once and for all
// (permanent neighbours), so no ARP tells a host that a link is cut.
//
// # The program
//
// Enter starts the program anew in a network and a mount namespace of its own, and
// in a user namespace when it is not root's. Everything made there, interfaces and
// mounts too, is gone when it ends, however it ends. Server processes die with it.
// The program itself is a host as well, the one where clients live: what it dials
// passes the switch.
//
// Net, Host, Server and Node may be used by several goroutines; a Server or Node
// is started and stopped by one at a time. Conn belongs to one goroutine.
package lab
