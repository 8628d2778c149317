package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ocsp"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// TestStaple: a staple is presented while it is fresh and not a second longer, and a
// version with a newer one takes over at once.
func TestStaple(t *testing.T) {
	var ahead atomic.Int64 // how far the edge's clock is ahead
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) {
		c.Metrics = registry
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	leaf := w.leaf([]string{"a.example.com"})
	staple := w.ca.Staple(t, leaf)
	end := time.Now().Add(48 * time.Hour)
	c := w.certificate(leaf)
	w.domain("a.example.com", []*lacre.Certificate{c})
	renew := func(der []byte, ends time.Time) {
		c.Version++
		v := w.version(c.ID, c.Version, leaf)
		v.OCSPStaple, v.OCSPNextUpdate = der, ends
		w.store(c, v)
	}
	presented := func(edit func(*tls.Config)) string {
		return string(w.connect("a.example.com", edit).ConnectionState().OCSPResponse)
	}
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		ahead.Store(0)
		renew(nil, time.Time{})
		if got := presented(version); got != "" {
			t.Errorf("without a staple: got %d bytes", len(got))
		}
		renew(staple, end)
		if got := presented(version); got != string(staple) {
			t.Errorf("with a staple: got %d bytes, want its %d", len(got), len(staple))
		}
		ahead.Store(int64(48*time.Hour + time.Second))
		if got := presented(version); got != "" {
			t.Error("a staple was presented after its end")
		}
		newer := w.ca.Staple(t, leaf, func(r *ocsp.Response) { r.NextUpdate = end.Add(48 * time.Hour) })
		renew(newer, end.Add(48*time.Hour))
		if got := presented(version); got != string(newer) {
			t.Errorf("with a newer staple: got %d bytes, want its %d", len(got), len(newer))
		}
	})
	if got := value(t, registry, "lacre_certificate_ocsp_next_update_timestamp_seconds", w.project, c.ID); got != float64(end.Add(48*time.Hour).Unix()) {
		t.Errorf("got the end %v in the metrics, want that of the staple", got)
	}
}

// TestNewStapleEndsNoSession: sessions go on when nothing but the staple is new.
func TestNewStapleEndsNoSession(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf([]string{"a.example.com"})
	staple := w.ca.Staple(t, leaf)
	c := w.certificate(leaf)
	w.domain("a.example.com", []*lacre.Certificate{c})
	renew := func(epoch int) {
		c.Version++
		v := w.version(c.ID, c.Version, leaf)
		v.OCSPStaple, v.OCSPNextUpdate, v.Epoch = staple, time.Now().Add(time.Duration(c.Version)*time.Hour), epoch
		w.store(c, v)
	}
	eachTLS(t, func(t *testing.T, version func(*tls.Config)) {
		renew(0)
		cache, epoch := &oneSession{}, c.Version
		w.resumes("a.example.com", cache, version)
		for range 2 {
			renew(epoch)
			if !w.resumes("a.example.com", cache, version) {
				t.Error("a new staple ended the session")
			}
		}
		renew(0)
		if w.resumes("a.example.com", cache, version) {
			t.Error("resumed onto a version that differs by more than its staple")
		}
	})
}

// TestMustStapleWithoutStaple: a certificate that clients refuse without a staple gives way
// to another of its domain when the staple has ended, and explain says so.
func TestMustStapleWithoutStaple(t *testing.T) {
	var ahead atomic.Int64 // how far the edge's clock is ahead
	w := newWorld(t, func(c *edge.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	const host = "a.example.com"
	leaf := w.leaf([]string{host}, testcert.MustStaple())
	ends := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	must := w.certificate(leaf)
	must.Version++
	v := w.version(must.ID, must.Version, leaf)
	v.OCSPStaple, v.OCSPNextUpdate = w.ca.Staple(t, leaf), ends
	w.store(must, v)
	plain := w.certificate(w.leaf([]string{host}, testcert.WithRSA(2048)))
	w.domain(host, []*lacre.Certificate{must, plain})
	for _, test := range []struct {
		ahead      time.Duration
		chosen     *lacre.Certificate
		ends       time.Time
		lostReason string
	}{
		{0, must, ends, "ECC goes before RSA"},
		{2 * time.Hour, plain, time.Time{}, "it demands an OCSP staple, and has none that is current"},
	} {
		ahead.Store(int64(test.ahead))
		got := w.explain(hello(host), host)
		if c := got.Certificate; c == nil || c.ID != test.chosen.ID || !c.StapleEnds.Equal(test.ends) {
			t.Errorf("%v ahead: got %+v, want %s with a staple until %v", test.ahead, c, test.chosen.ID, test.ends)
		}
		if len(got.Losers) != 1 || got.Losers[0].Reason != test.lostReason {
			t.Errorf("%v ahead: got losers %+v, want %q", test.ahead, got.Losers, test.lostReason)
		}
		if rsa := w.connect(host).ConnectionState().PeerCertificates[0].PublicKeyAlgorithm == x509.RSA; rsa != (test.chosen == plain) {
			t.Errorf("%v ahead: RSA %v was presented", test.ahead, rsa)
		}
	}
}
