package resp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a loop that never wait. They go without the scheduler's
// knowledge, which it needs for those that might: telling it costs more than it
// is worth for calls of a few microseconds.

// readNow reads what has arrived; b is not empty.
func readNow(fd int, b []byte) (int, error) {
	return result(unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))))
}

// writeNow writes what the socket takes; b is not empty.
func writeNow(fd int, b []byte) (int, error) {
	return result(unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))))
}

// pollNow returns how many events there are.
func pollNow(epoll int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // interrupted: the next call will tell
	}
	return int(n)
}

func result(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
