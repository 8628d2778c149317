package edge_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keypair"
	"lacre/tlcp"
)

// newSMCA makes the SM2 CA of these tests, of which TLCP clients know nothing else.
func newSMCA(tb testing.TB) *testcert.CA {
	tb.Helper()
	return testcert.NewCA(tb, "SM2 root", testcert.WithSM2()).Intermediate(tb, "SM2 issuing", testcert.WithSM2())
}

func poolSM2(cas ...*testcert.CA) *smx509.CertPool {
	pool := smx509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert((*smx509.Certificate)(ca.Cert))
	}
	return pool
}

// dualVersion makes version n of an SM2 certificate.
func (w *world) dualVersion(certificateID string, n int, d *testcert.Dual, roots ...*testcert.CA) *lacre.Version {
	w.Helper()
	half := func(leaf *testcert.Leaf) (chain [][]byte, sealed []byte) {
		der, err := smx509.MarshalPKCS8PrivateKey(leaf.Key)
		if err != nil {
			w.Fatal(err)
		}
		sealed, _ = w.box.Seal(context.Background(), w.project, der, nil)
		for _, c := range leaf.Chain {
			chain = append(chain, c.Raw)
		}
		return chain, sealed
	}
	v := &lacre.Version{
		ProjectID: w.project, CertificateID: certificateID, Number: n, Created: time.Now(),
		Facts: keypair.Facts{Algorithm: keypair.SM2, NotBefore: d.Enc.Cert.NotBefore, NotAfter: d.Enc.Cert.NotAfter},
	}
	v.Chain, v.SealedKey = half(d.Enc)
	v.SignChain, v.SealedSignKey = half(d.Sign)
	for _, root := range roots {
		v.TrustRoots = append(v.TrustRoots, root.Cert.Raw)
	}
	return v
}

// dual stores an SM2 certificate with its first version.
func (w *world) dual(d *testcert.Dual, roots ...*testcert.CA) *lacre.Certificate {
	w.Helper()
	c := &lacre.Certificate{ID: lacre.NewID(), ProjectID: w.project, Version: 1, Scope: lacre.ScopeGlobal}
	v := w.dualVersion(c.ID, 1, d, roots...)
	c.Facts = v.Facts
	w.store(c, v)
	return c
}

func (w *world) rotateDual(c *lacre.Certificate, d *testcert.Dual, roots ...*testcert.CA) int64 {
	w.Helper()
	c.Version++
	return w.store(c, w.dualVersion(c.ID, c.Version, d, roots...))
}

// dialTLCP makes a TLCP connection with a server name.
func (w *world) dialTLCP(ca *testcert.CA, name string, edits ...func(*tlcp.Config)) (*tlcp.Conn, error) {
	cfg := &tlcp.Config{ServerName: name, RootCAs: poolSM2(ca)}
	for _, edit := range edits {
		edit(cfg)
	}
	return secured(w.addr, func(raw net.Conn) *tlcp.Conn { return tlcp.Client(raw, cfg) })
}

func (w *world) connectTLCP(ca *testcert.CA, name string, edits ...func(*tlcp.Config)) *tlcp.Conn {
	w.Helper()
	c, err := w.dialTLCP(ca, name, edits...)
	return kept(w, name, c, err)
}

// serials are those of the signing and of the encryption certificate.
func serials(c *tlcp.Conn) [2]string {
	peer := c.ConnectionState().PeerCertificates
	return [2]string{peer[0].SerialNumber.String(), peer[1].SerialNumber.String()}
}

func serialsOf(d *testcert.Dual) [2]string {
	return [2]string{d.Sign.Cert.SerialNumber.String(), d.Enc.Cert.SerialNumber.String()}
}

// clientTLCP is client for TLCP.
func (w *world) clientTLCP(ca *testcert.CA, edits ...func(*tlcp.Config)) *http.Client {
	w.Helper()
	t := &http.Transport{
		DisableCompression: true,
		DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return w.dialTLCP(ca, host, edits...)
		},
	}
	w.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// withPair makes a TLCP client show a pair.
func withPair(t testing.TB, d *testcert.Dual) func(*tlcp.Config) {
	t.Helper()
	chain := func(leaf *testcert.Leaf) (ders [][]byte) {
		for _, c := range leaf.Chain {
			ders = append(ders, c.Raw)
		}
		return ders
	}
	pair, err := tlcp.NewKeyPair(chain(d.Sign), d.Sign.Key.(*sm2.PrivateKey), chain(d.Enc), d.Enc.Key.(*sm2.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *tlcp.Config) { c.KeyPair = pair }
}

func onlySuite(suite uint16) func(*tlcp.Config) {
	return func(c *tlcp.Config) { c.CipherSuites = []uint16{suite} }
}

// gotAlert tells whether the peer ended a TLCP handshake with this alert.
func gotAlert(err error, want tlcp.Alert) bool {
	alert, ok := errors.AsType[*tlcp.AlertError](err)
	return ok && alert.Remote && alert.Alert == want
}
