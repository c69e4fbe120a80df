package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"kvstore/config"
)

// loadTLS reads what makes the clients' port speak TLS; nil when it does not.
func loadTLS(c *config.Config) (*tls.Config, error) {
	if c.Server.TLSCert == "" {
		return nil, nil
	}
	certificate, err := loadPair("server", c.Server.TLSCert, c.Server.TLSKey)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, nil
}

// loadPeerTLS reads what makes nodes speak TLS to each other; nil when they do not. Both sides of a connection show a
// certificate of the cluster's authority: who has none is refused before the handshake of package rpc begins.
func loadPeerTLS(c *config.Config) (*tls.Config, error) {
	if c.Cluster.TLSCert == "" {
		return nil, nil
	}
	certificate, err := loadPair("cluster", c.Cluster.TLSCert, c.Cluster.TLSKey)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(c.Cluster.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("cluster.tls_ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("cluster.tls_ca = %q: it holds no certificate; give a PEM file of those that sign the nodes'", c.Cluster.TLSCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13,
		RootCAs: authorities, ClientCAs: authorities, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// loadPair reads a section's certificate and its key.
func loadPair(section, cert, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("%s.tls_cert = %q, %s.tls_key = %q: %w; give a matching pair of PEM files", section, cert, section, key, err)
	}
	return pair, err
}
