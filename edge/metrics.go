package edge

import (
	"crypto/tls"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre/tlcp"
)

// metrics are the edge's own numbers. Counters on the handshake path are looked up
// once, here. No label comes from a client.
type metrics struct {
	edge             *Edge
	handshakes       *prometheus.CounterVec
	byOutcome        [outcomes][len(versionNames)]prometheus.Counter
	handshakeSeconds prometheus.Histogram
	requests         *prometheus.CounterVec
	byClass          [6]prometheus.Counter // by first digit of the status code
	overload         prometheus.Counter
	badIntroductions prometheus.Counter
	watchRestarts    prometheus.Counter
	linesDropped     prometheus.Counter
	ended            prometheus.Counter
	unread           prometheus.Counter
	domains          *domainMetrics
	clients          *prometheus.CounterVec

	notAfter *prometheus.Desc
	staple   *prometheus.Desc
	crlDue   *prometheus.Desc
	omitted  *prometheus.Desc
}

var versionNames = [...]string{"none", "TLSv1.2", "TLSv1.3", "TLCP"}

func newMetrics(e *Edge) *metrics {
	m := &metrics{
		edge: e,
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_edge_handshakes_total", Help: "TLS and TLCP handshakes by result and version.",
		}, []string{"result", "version"}),
		handshakeSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lacre_edge_handshake_seconds", Help: "Time of successful handshakes, the network included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_edge_requests_total", Help: "Requests by class of the status code.",
		}, []string{"code"}),
		overload: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_connections_refused_total", Help: "Connections closed at once, too many being open.",
		}),
		badIntroductions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_proxy_headers_refused_total", Help: "Connections closed since a listed proxy began them without a good PROXY v2 header.",
		}),
		watchRestarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_watch_restarts_total", Help: "Times the watch on the store ended and was started again.",
		}),
		linesDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_access_log_dropped_total", Help: "Lines of the access log that could not be written in time or at all.",
		}),
		ended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_requests_ended_total", Help: "Requests ended on the way, WebSockets included, since they would not be let in any more.",
		}),
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lacre_edge_requests_unread_total", Help: "Requests that could not be read: malformed, too large, too slow or broken off. One behind another on its connection may be missed.",
		}),
		domains: newDomainMetrics(e.holdings, e.cfg.DomainMetrics),
		clients: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_edge_clients_refused_total",
			Help: "Handshakes ended although the client's certificate chained to a trust root, or did when its session was made.",
		}, []string{"reason"}),
		crlDue: prometheus.NewDesc("lacre_crl_next_update_timestamp_seconds",
			"When the first revocation list of a certificate in use goes stale; clients are refused from then on.",
			[]string{"project", "certificate"}, nil),
		notAfter: prometheus.NewDesc("lacre_certificate_not_after_timestamp_seconds",
			"End of validity of the version that is served, soonest first.", []string{"project", "certificate"}, nil),
		staple: prometheus.NewDesc("lacre_certificate_ocsp_next_update_timestamp_seconds",
			"End of the OCSP staple of the version that is served, which is not presented afterwards.", []string{"project", "certificate"}, nil),
		omitted: prometheus.NewDesc("lacre_certificate_not_after_omitted",
			"Certificates left out of lacre_certificate_not_after_timestamp_seconds.", nil, nil),
	}
	for o := range m.byOutcome {
		for v := range versionNames {
			m.byOutcome[o][v] = m.handshakes.WithLabelValues(outcomeNames[o], versionNames[v])
		}
	}
	for class := range m.byClass {
		m.byClass[class] = m.requests.WithLabelValues(strconv.Itoa(class) + "xx")
	}
	return m
}

// register offers the metrics to r. What is read from the Edge is read when scraped.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	collectors := append(m.gauges(), m, m.handshakes, m.handshakeSeconds, m.requests, m.overload, m.badIntroductions, m.watchRestarts, m.linesDropped, m.ended, m.unread, m.domains, m.clients)
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) gauges() []prometheus.Collector {
	gauge := func(name, help string, value func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(m.edge.Status()) })
	}
	return []prometheus.Collector{
		gauge("lacre_edge_connections", "Open connections.",
			func(s Status) float64 { return float64(s.Connections) }),
		gauge("lacre_edge_sites", "Host names served.",
			func(s Status) float64 { return float64(s.Sites) }),
		gauge("lacre_edge_certificates", "Certificates held.",
			func(s Status) float64 { return float64(s.Certificates) }),
		gauge("lacre_edge_damaged", "Records or keys that cannot be read; their last good value is served.",
			func(s Status) float64 { return float64(s.Damaged) }),
		gauge("lacre_edge_applied_revision", "Store revision up to which changes are served.",
			func(s Status) float64 { return float64(s.Revision) }),
		gauge("lacre_edge_unproven", "Certificates and domains that have changed and wait for a handshake of the edge with itself.",
			func(Status) float64 { return float64(m.edge.prover.unprovenClaims()) }),
		gauge("lacre_edge_certificates_failing", "Certificates whose current version is not presented.",
			func(Status) float64 { return float64(m.edge.prover.failingCertificates()) }),
		gauge("lacre_edge_contact_timestamp_seconds", "When the store last answered.",
			func(s Status) float64 { return float64(s.Contact.UnixMilli()) / 1000 }),
		gauge("lacre_edge_host_conflicts", "Host names claimed by more than one domain.",
			func(Status) float64 { return float64(m.edge.index.conflicts.Load()) }),
	}
}

func versionIndex(version uint16) int {
	switch version {
	case tls.VersionTLS12:
		return 1
	case tls.VersionTLS13:
		return 2
	case tlcp.Version:
		return 3
	}
	return 0
}

// handshake counts one handshake; its time only if it succeeded, or clients that stall
// would hide how fast the others are.
func (m *metrics) handshake(o outcome, version uint16, took time.Duration) {
	m.byOutcome[o][versionIndex(version)].Inc()
	if o == succeeded || o == resumed {
		m.handshakeSeconds.Observe(took.Seconds())
	}
}

func (m *metrics) request(status int) {
	if class := status / 100; class < len(m.byClass) {
		m.byClass[class].Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.notAfter
	ch <- m.staple
	ch <- m.omitted
	ch <- m.crlDue
}

// Collect implements prometheus.Collector over the versions that are really served.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	versions := m.edge.holdings.versions()
	var leaves, staples, lists soonest
	for _, v := range versions {
		leaves.add(v.notAfter, v.served)
		if v.staple != nil {
			staples.add(v.staple.ends, v.served)
		}
		if x := v.served.revoked.Load(); x != nil && len(x.lists) > 0 {
			lists.add(x.due(), v.served)
		}
	}
	leaves.collect(ch, m.notAfter)
	staples.collect(ch, m.staple)
	lists.collect(ch, m.crlDue)
	ch <- prometheus.MustNewConstMetric(m.omitted, prometheus.GaugeValue, float64(max(0, len(versions)-maxSeries)))
}

// versions returns the current version of every certificate.
func (h *holdings) versions() []*version {
	h.mu.Lock()
	defer h.mu.Unlock()
	versions := make([]*version, 0, len(h.certificates))
	for _, c := range h.certificates {
		if v := c.current.Load(); v != nil {
			versions = append(versions, v)
		}
	}
	return versions
}
