package operating

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kvstore/tests/process"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for a node of this machine, and returns its files.
func (a *authority) issue() (cert, key string) {
	a.t.Helper()
	dir, own := a.t.TempDir(), newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(a.t, cert, "CERTIFICATE", der)
	writePEM(a.t, key, "PRIVATE KEY", secret)
	return cert, key
}

// Nodes with certificates of one authority are a cluster. Who comes without one, or with another's, is refused before it
// can say anything.
func TestNodesSpeakTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	cert, key := ours.issue()
	nodes := process.Cluster(t, 2, append([]string{"cluster.tls_cert=" + cert, "cluster.tls_key=" + key, "cluster.tls_ca=" + ours.file}, patient...)...)
	process.Dial(t, nodes[0].Client).Expect("QUORUM CALL all all SET k v", "OK")
	process.Dial(t, nodes[1].Client).Expect("QUORUM CALL all all GET k", "v")

	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	foreign, err := tls.LoadX509KeyPair(others.issue())
	if err != nil {
		t.Fatal(err)
	}
	for name, certificates := range map[string][]tls.Certificate{"no certificate": nil, "another authority's": {foreign}} {
		conn, err := tls.Dial("tcp", nodes[0].RPC, &tls.Config{RootCAs: pool, Certificates: certificates})
		if err != nil {
			t.Errorf("%s: the node does not show that it is of the cluster: %v", name, err)
			continue
		}
		// The node's refusal comes after what the client takes for the end of the handshake.
		if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
		conn.Close()
	}
	n := process.New(t, "n3")
	out, err := kvstore(t, "server", "--storage.dir="+n.Data(), "--cluster.tls_cert="+cert, "--cluster.tls_key="+key, "--cluster.tls_ca="+key,
		"--server.listen="+n.Client, "--admin.listen="+n.Admin, "--cluster.gossip="+n.Gossip, "--cluster.rpc="+n.RPC)
	if err == nil || !strings.Contains(out, "it holds no certificate") {
		t.Errorf("an authority that is none: %v\n%s", err, out)
	}
}
