package edge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"lacre"
	"lacre/tlcp"
)

// helloTLCP is what a client of TLCP offers for a name.
func helloTLCP(name string, suites ...uint16) lacre.ClientHello {
	if suites == nil {
		suites = []uint16{tlcp.ECC_SM4_CBC_SM3, tlcp.ECC_SM4_GCM_SM3}
	}
	return lacre.ClientHello{ServerName: name, Versions: []uint16{lacre.VersionTLCP}, CipherSuites: suites}
}

// TestExplainTLCPAgreesWithHandshakes asks for the same hello twice: explained and for real.
func TestExplainTLCPAgreesWithHandshakes(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	dual := func(host string) *lacre.Certificate { return w.dual(ca.Dual(t, []string{host}), ca) }
	w.domain("sm2.example.com", []*lacre.Certificate{dual("sm2.example.com")})
	w.domain("both.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"both.example.com"})), dual("both.example.com")})
	w.domain("verified.example.com", []*lacre.Certificate{dual("verified.example.com")}, verifyClients)
	w.domain("strict.example.com", []*lacre.Certificate{dual("strict.example.com")}, func(d *lacre.Domain) { d.MinTLS = "TLSv1.3" })
	w.domain("off.example.com", []*lacre.Certificate{dual("off.example.com")}, func(d *lacre.Domain) { d.HTTPSPort = -1 })
	w.site("tls.example.com")
	w.domain("bare.example.com", nil)
	client := withPair(t, ca.Dual(t, []string{"client"}))
	for _, name := range []string{"sm2.example.com", "both.example.com", "SM2.example.com", "verified.example.com",
		"strict.example.com", "off.example.com", "tls.example.com", "bare.example.com", "unknown.test"} {
		for _, suites := range [][]uint16{{tlcp.ECC_SM4_CBC_SM3, tlcp.ECC_SM4_GCM_SM3}, {tlcp.ECDHE_SM4_CBC_SM3}} {
			x := w.explain(helloTLCP(name, suites...), name)
			c, err := w.dialTLCP(ca, name, client, func(c *tlcp.Config) { c.CipherSuites, c.InsecureSkipVerify = suites, true })
			got := uint8(0)
			if alert, ok := errors.AsType[*tlcp.AlertError](err); ok && alert.Remote {
				got = uint8(alert.Alert)
			}
			if got != x.Handshake.Alert || (err == nil) != (x.Handshake.Result == "ok") {
				t.Errorf("%s, suites %#x: explained %+v, the handshake says %v", name, suites, x.Handshake, err)
			}
			if err != nil {
				continue
			}
			state := c.ConnectionState()
			c.Close()
			sum := sha256.Sum256(state.PeerCertificates[1].Raw)
			if x.Certificate == nil || x.Certificate.Fingerprint != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: explained %+v, another certificate was presented", name, x.Certificate)
			}
			if want := tlcp.CipherSuiteName(state.CipherSuite); x.Handshake.Version != "TLCPv1.1" || x.Handshake.CipherSuite != want {
				t.Errorf("%s: explained %s %s, negotiated %s", name, x.Handshake.Version, x.Handshake.CipherSuite, want)
			}
			if x.Request == nil || x.Request.Result != "built_in_page" {
				t.Errorf("%s: got request %+v, want the built-in page", name, x.Request)
			}
		}
	}
}

func TestExplainTLCPLosers(t *testing.T) {
	w, ca := newWorld(t), newSMCA(t)
	const host = "www.example.com"
	ecc, sm2 := w.certificate(w.leaf([]string{host})), w.dual(ca.Dual(t, []string{host}), ca)
	w.domain(host, []*lacre.Certificate{ecc, sm2})
	w.site("tls.example.com")
	got := w.explain(helloTLCP(host), host)
	if got.Certificate == nil || got.Certificate.ID != sm2.ID || got.Certificate.Algorithm != "SM2" {
		t.Fatalf("got %+v, want the SM2 certificate", got.Certificate)
	}
	if len(got.Losers) != 1 || got.Losers[0].CertificateID != ecc.ID || got.Losers[0].Reason != "TLCP takes SM2 certificates only" {
		t.Errorf("got losers %+v, want the ECC certificate", got.Losers)
	}
	got = w.explain(helloTLCP("tls.example.com"), host)
	if want := "the domain has no SM2 certificate, which TLCP needs"; got.Handshake.Reason != want || got.Request != nil {
		t.Errorf("got %+v, want %q and no request", got.Handshake, want)
	}
	w.project = lacre.NewID() // from here on somebody else asks
	before := w.box.opened.Load()
	if got := w.explain(helloTLCP(host), host); got.Handshake.Result != "unrecognized_name" || got.Rule != nil || w.box.opened.Load() != before {
		t.Errorf("to another project: got %+v by %+v, want what an unknown name gets", got.Handshake, got.Rule)
	}
}
