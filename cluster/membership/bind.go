package membership

import (
	"fmt"
	"log"
	"net"
	"strconv"

	"github.com/hashicorp/memberlist"
)

// bind fills in the addresses of c and listens, unless a transport was given.
func bind(c *memberlist.Config, o *Options, logger *log.Logger) error {
	ip, port, err := resolve(o.Bind)
	if err != nil {
		return fmt.Errorf("gossip address %q: %w", o.Bind, err)
	}
	c.BindAddr, c.BindPort = ip.String(), port
	c.AdvertiseAddr, c.AdvertisePort = "", port
	if o.Advertise != "" {
		ip, port, err := resolve(o.Advertise)
		if err != nil {
			return fmt.Errorf("advertised gossip address %q: %w", o.Advertise, err)
		}
		c.AdvertiseAddr, c.AdvertisePort = ip.String(), port
	} else if ip.IsUnspecified() && ip.To4() == nil {
		return fmt.Errorf("gossip address %q is every address: say which one others reach", o.Bind)
	}
	if o.Transport != nil {
		c.Transport = o.Transport
		return nil
	}
	// memberlist would make the same; made here, the error can name the address, and a free port is known.
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: port, Logger: logger})
	if err != nil {
		return fmt.Errorf("listen for gossip on %s: %w", o.Bind, err)
	}
	c.BindPort = t.GetAutoBindPort()
	c.Transport = t
	return nil
}

// resolve turns host:port into the one IP address memberlist wants. No host is every IPv4 address.
func resolve(addr string) (net.IP, int, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("port %q is not a number from 0 to 65535", service)
	}
	if host == "" {
		return net.IPv4zero, int(port), nil
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip, int(port), nil
	}
	resolved, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return nil, 0, err
	}
	return resolved.IP, int(port), nil
}
