package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"

	"kvstore/config"
)

// checkListeners reports the first configured address that cannot be listened
// on, by listening for a moment. The listeners themselves would fail too, but
// some share a port silently (SO_REUSEPORT) and none knows its key.
func checkListeners(c *config.Config) error {
	for _, key := range []string{"server.listen", "cluster.gossip", "cluster.rpc", "admin.listen"} {
		addr := c.Text(key)
		if addr == "" {
			continue
		}
		if err := checkListener(addr, key == "cluster.gossip"); err != nil {
			return &listenError{key, addr, err}
		}
	}
	return nil
}

// listenError is an address that cannot be listened on: one line with the mend.
type listenError struct {
	key, addr string
	err       error
}

func (e *listenError) Unwrap() error { return e.err }

func (e *listenError) Error() string {
	where := fmt.Sprintf("%s = %q: ", e.key, e.addr)
	switch {
	case errors.Is(e.err, syscall.EADDRINUSE):
		return where + "the port is in use by another process; stop it, or choose another with --" + e.key + "=HOST:PORT"
	case errors.Is(e.err, syscall.EADDRNOTAVAIL):
		return where + "this machine does not have that address; use one of its own"
	case errors.Is(e.err, syscall.EACCES):
		return where + "no permission to listen there; choose a port above 1023"
	}
	return where + e.err.Error()
}

func checkListener(addr string, udp bool) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	if !udp {
		return nil
	}
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return p.Close()
}

// freePorts finds n different ports of host that are free for TCP and UDP. They
// are held until all are found, and may be taken by others after.
func freePorts(host string, n int) ([]int, error) {
	var held []io.Closer
	defer func() {
		for _, h := range held {
			h.Close()
		}
	}()
	var ports []int
	for attempt := 0; len(ports) < n; attempt++ {
		if attempt == 4*n {
			return nil, errors.New("find free ports: too many are free for TCP only")
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("find free ports: %w", err)
		}
		held = append(held, l)
		port := l.Addr().(*net.TCPAddr).Port
		p, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			continue // taken for UDP
		}
		held, ports = append(held, p), append(ports, port)
	}
	return ports, nil
}
