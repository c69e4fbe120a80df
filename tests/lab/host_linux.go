package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	tunDevice = "/dev/net/tun"
	macPrefix = 0x02 // the first byte of the hosts' addresses: locally administered
)

// Host is one host of a network.
type Host struct {
	// IP is the host's address.
	IP string

	index int
	tap   *os.File
	work  chan func() // sent by in, closed by close; nil for the program's own host
	done  chan struct{}
}

// newHost makes a host. Number 0 is the program itself, in the namespace it is in.
func newHost(index int) (*Host, error) {
	h := &Host{IP: ipOf(index), index: index}
	if index == 0 {
		return h, h.furnish()
	}
	h.work, h.done = make(chan func()), make(chan struct{})
	made := make(chan error)
	go h.live(made)
	return h, <-made
}

// live is the goroutine whose thread is in the host's namespace. The thread ends
// with it: nothing else may run there.
func (h *Host) live(made chan<- error) {
	runtime.LockOSThread()
	defer close(h.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = h.furnish()
	}
	if made <- err; err != nil {
		return
	}
	for do := range h.work {
		do()
	}
}

// in runs fn on a thread of the host: processes that it starts and sockets that it
// makes are the host's.
func (h *Host) in(fn func()) {
	if h.work == nil {
		fn()
		return
	}
	done := make(chan struct{})
	h.work <- func() { defer close(done); fn() }
	<-done
}

func (h *Host) close() {
	_ = h.tap.Close() // the device goes with it
	if h.work != nil {
		close(h.work)
		<-h.done
	}
}

// furnish gives the namespace of this thread its interface and addresses.
func (h *Host) furnish() error {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", tunDevice, err)
	}
	name := fmt.Sprintf("lab%d", h.index)
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd) // the error that matters is err
		return fmt.Errorf("make interface %s: %w", name, err)
	}
	h.tap = os.NewFile(uintptr(fd), tunDevice)
	var batch strings.Builder
	fmt.Fprintf(&batch, "link set lo up\nlink set %s address %s mtu %d up\naddress add %s/24 dev %s\n", name, macOf(h.index), mtu, h.IP, name)
	for other := range maxHosts {
		if other != h.index {
			fmt.Fprintf(&batch, "neighbour add %s lladdr %s dev %s nud permanent\n", ipOf(other), macOf(other), name)
		}
	}
	ip := exec.Command("ip", "-batch", "-")
	ip.Stdin = strings.NewReader(batch.String())
	if out, err := ip.CombinedOutput(); err != nil {
		h.tap.Close()
		return fmt.Errorf("set up interface %s: %w: %s", name, err, out)
	}
	return nil
}

// ipOf numbers hosts from 1, since an address that ends in 0 is none.
func ipOf(index int) string { return fmt.Sprintf("10.99.0.%d", index+1) }

func macOf(index int) string { return fmt.Sprintf("%02x:00:00:00:00:%02x", macPrefix, index) }
