package config

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// Load applies sources over the defaults, later ones over earlier ones, and
// checks the whole. Its error is an Errors with every mistake.
func Load(sources ...[]Setting) (*Config, error) {
	c := Default()
	c.origins = make(map[string]string)
	var mistakes Errors
	for _, source := range sources {
		for _, s := range source {
			if err := c.apply(s); err != nil {
				mistakes = append(mistakes, err)
			}
		}
	}
	if len(mistakes) == 0 {
		c.sumUp()
		mistakes = c.contradictions()
	}
	if err := mistakes.orNil(); err != nil {
		return nil, err
	}
	if c.Node.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, Errors{{Key: "node.name", Problem: "the host has no name: " + err.Error(), Allowed: "1 to 64 bytes of text"}}
		}
		c.Node.Name = name[:min(len(name), 64)]
	}
	return c, nil
}

func (c *Config) apply(s Setting) *Error {
	f, ok := lookup(s.Key)
	if !ok {
		return unknownKey(s.Key, s.Origin)
	}
	v := f.at(c)
	if err := v.parse(s.Value); err != nil {
		return &Error{Key: s.Key, Value: f.shown(strconv.Quote(s.Value)), Origin: s.Origin, Problem: err.Error(), Allowed: v.allowed()}
	}
	c.origins[s.Key] = s.Origin
	return nil
}

// shown is what may be shown of a value.
func (f Field) shown(value string) string {
	if f.Secret && value != "" && value != `""` {
		return "********"
	}
	return value
}

// sumUp puts the sum of replication.per_dc, if there is any, in the place of replication.n.
func (c *Config) sumUp() {
	if len(c.Replication.PerDC) > 0 {
		c.Replication.N = 0
	}
	for _, dc := range c.Replication.PerDC {
		c.Replication.N += dc.N
	}
}

// contradictions checks what no field can check alone.
func (c *Config) contradictions() Errors {
	var mistakes Errors
	refuse := func(key, problem, allowed string) {
		f, _ := lookup(key)
		mistakes = append(mistakes, &Error{Key: key, Value: f.shown(strconv.Quote(c.Text(key))), Origin: c.Origin(key), Problem: problem, Allowed: allowed})
	}
	for _, key := range []string{"replication.r", "replication.w"} {
		if n, err := strconv.Atoi(c.Text(key)); err == nil && n > c.Replication.N {
			refuse(key, fmt.Sprintf("more than the %d copies there are", c.Replication.N), fmt.Sprintf("up to replication.n = %d", c.Replication.N))
		}
	}
	if (c.Server.TLSCert == "") != (c.Server.TLSKey == "") {
		refuse("server.tls_cert", "server.tls_cert and server.tls_key go together", "both or neither")
	}
	if cert, key, ca := c.Cluster.TLSCert, c.Cluster.TLSKey, c.Cluster.TLSCA; (cert == "") != (key == "") || (cert == "") != (ca == "") {
		refuse("cluster.tls_cert", "cluster.tls_cert, cluster.tls_key and cluster.tls_ca go together", "all or none")
	}
	listeners := []string{"server.listen", "cluster.gossip", "cluster.rpc", "admin.listen"}
	for i, key := range listeners {
		for _, earlier := range listeners[:i] {
			if _, port, err := net.SplitHostPort(c.Text(key)); err == nil && port != "0" && c.Text(key) == c.Text(earlier) {
				refuse(key, "the same address as "+earlier, "an address of its own")
			}
		}
	}
	return mistakes
}
