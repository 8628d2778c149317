package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lacre"
	"lacre/edge"
	"lacre/internal/testcert"
)

// value returns a metric by name and the values of its labels, -1 if there is none.
func value(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && matches(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return -1
}

func matches(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) {
		c.Metrics, c.MaxConns = registry, 50
		c.Timeouts.Handshake = 300 * time.Millisecond
	})
	_, cert := w.site("a.example.com")
	w.domain("bare.example.com", nil)
	clients := testcert.NewCA(t, "clients")
	w.domain("auth.example.com", []*lacre.Certificate{w.certificate(w.leaf([]string{"auth.example.com"}), clients)}, verifyClients)

	cache := &oneSession{}
	w.resumes("a.example.com", cache, tls13)
	w.resumes("a.example.com", cache, tls13)
	w.connect("a.example.com", tls12).Close()
	w.dial("Secret-Name.test", tls13)
	w.dial("bare.example.com", tls13)
	w.dial("auth.example.com", tls12)
	w.dial("a.example.com", func(c *tls.Config) { c.MaxVersion, c.MinVersion = tls.VersionTLS11, tls.VersionTLS10 })
	gone, _ := net.Dial("tcp", w.addr)
	gone.Close()
	slow, _ := net.Dial("tcp", w.addr)
	defer slow.Close()
	io.ReadAll(slow)
	request(t, w.client(true), "https://a.example.com/")

	for _, test := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"lacre_edge_handshakes_total", []string{"ok", "TLSv1.3"}, 2},
		{"lacre_edge_handshakes_total", []string{"ok", "TLSv1.2"}, 1},
		{"lacre_edge_handshakes_total", []string{"resumed", "TLSv1.3"}, 1},
		{"lacre_edge_handshakes_total", []string{"unrecognized_name", "TLSv1.3"}, 1},
		{"lacre_edge_handshakes_total", []string{"no_certificate", "TLSv1.3"}, 1},
		{"lacre_edge_handshakes_total", []string{"client_auth", "TLSv1.2"}, 1},
		{"lacre_edge_handshakes_total", []string{"failed", "none"}, 1},
		{"lacre_edge_handshakes_total", []string{"closed", "none"}, 1},
		{"lacre_edge_handshakes_total", []string{"timeout", "none"}, 1},
		{"lacre_edge_handshake_seconds", nil, 4},
		{"lacre_edge_requests_total", []string{"2xx"}, 3},
		{"lacre_edge_sites", nil, 3},
		{"lacre_edge_certificates", nil, 2},
		{"lacre_edge_damaged", nil, 0},
		{"lacre_edge_host_conflicts", nil, 0},
		{"lacre_certificate_not_after_omitted", nil, 0},
		{"lacre_certificate_not_after_timestamp_seconds", []string{w.project, cert.ID}, float64(cert.Facts.NotAfter.Unix())},
		{"lacre_edge_applied_revision", nil, float64(w.edge.Status().Revision)},
		{"lacre_edge_unproven", nil, 0},
		{"lacre_edge_certificates_failing", nil, 0},
	} {
		eventually(t, fmt.Sprintf("%s%v to be %v", test.name, test.labels, test.want), func() bool {
			return value(t, registry, test.name, test.labels...) == test.want
		})
	}
	families, _ := registry.Gather()
	if text := strings.ToLower(fmt.Sprint(families)); strings.Contains(text, "secret-name") {
		t.Error("a name that a client chose is in the metrics")
	}
}

// TestNotAfterFollowsWhatIsServed, not what was stored.
func TestNotAfterFollowsWhatIsServed(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) { c.Metrics = registry })
	d, c := w.site("a.example.com")
	served := func() float64 {
		return value(t, registry, "lacre_certificate_not_after_timestamp_seconds", w.project, c.ID)
	}
	now := time.Now().Truncate(time.Second)
	end := now.Add(30 * 24 * time.Hour)
	w.rotate(c, w.leaf([]string{"a.example.com"}, testcert.WithValidity(now.Add(-time.Hour), end)))
	if got := served(); got != float64(end.Unix()) {
		t.Errorf("after a rotation: got %v, want %v", got, end.Unix())
	}
	c.Version++
	bad := w.version(c.ID, c.Version, w.leaf([]string{"a.example.com"}))
	bad.SealedKey = []byte("junk")
	w.refused(c, bad)
	if got := served(); got != float64(end.Unix()) {
		t.Errorf("after a damaged version: got %v, want %v of the one that is served", got, end.Unix())
	}
	w.commit(lacre.Tx{Delete: []lacre.Record{d}})
	if got := served(); got != -1 {
		t.Errorf("after the domain went: got %v, want no series", got)
	}
}

func TestNotAfterSeriesAreBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := &world{TB: t, ca: testcert.NewCA(t, "crowd"), box: &strongbox{keys: map[string][]byte{}}, log: &syncBuffer{}}
	leaf := w.leaf([]string{"*.example.com"})
	one := w.version(lacre.NewID(), 1, leaf)
	feed := &crowd{size: 10_010, read: func(id string) *lacre.Version {
		v := *one
		v.CertificateID = id
		return &v
	}}
	w.edge = startEdge(t, edge.Config{Feed: feed, Sealer: w.box, Metrics: registry}, w)
	<-w.edge.Ready()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "lacre_certificate_not_after_timestamp_seconds" && len(f.GetMetric()) != 10_000 {
			t.Errorf("got %d series, want 10000", len(f.GetMetric()))
		}
	}
	if got := value(t, registry, "lacre_certificate_not_after_omitted"); got != 10 {
		t.Errorf("got %v omitted, want 10", got)
	}
}

// TestNoKeyMaterialInTheLog with every fault at hand logged at debug level.
func TestNoKeyMaterialInTheLog(t *testing.T) {
	w := newWorld(t)
	_, c := w.site("a.example.com")
	w.connect("a.example.com")
	c.Version++
	bad := w.version(c.ID, c.Version, w.leaf([]string{"a.example.com"}))
	secret := w.box.keys[string(bad.SealedKey)]
	bad.Chain[0] = w.leaf([]string{"a.example.com"}).Cert.Raw // the key is another's
	w.refused(c, bad)
	w.dial("unknown.test")
	log := w.log.String()
	if !strings.Contains(log, "damaged") {
		t.Error("the damage is not in the log")
	}
	if strings.Contains(log, string(secret[20:40])) || strings.Contains(log, fmt.Sprintf("%x", secret[20:40])) ||
		strings.Contains(log, "PRIVATE") {
		t.Error("key material is in the log")
	}
}
