package edge_test

import (
	"crypto/tls"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ocsp"

	"lacre"
	"lacre/edge"
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
