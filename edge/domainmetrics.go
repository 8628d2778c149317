package edge

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tally counts the requests of one domain, or of all that have none of their own.
type tally struct {
	project, domain, host string
	requests              [6]atomic.Int64 // by first digit of the status
	bytes                 atomic.Int64
	micros                atomic.Int64
}

func (t *tally) add(status int, bytes int64, took time.Duration) {
	if class := status / 100; class < len(t.requests) {
		t.requests[class].Add(1)
	}
	t.bytes.Add(bytes)
	t.micros.Add(took.Microseconds())
}

// domainMetrics are series by domain. Only domains of the store have any, the first max
// that were asked for; what more there are share one, so that no tenant can make the
// scrape grow without end. The series of a domain end with it.
type domainMetrics struct {
	holdings *holdings
	max      int
	other    tally
	mu       sync.RWMutex
	tallies  map[string]*tally // by domain id

	requests, bytes, seconds *prometheus.Desc
}

func newDomainMetrics(h *holdings, most int) *domainMetrics {
	labels := []string{"project", "domain", "host"}
	return &domainMetrics{
		holdings: h, max: most, other: tally{domain: "other"}, tallies: make(map[string]*tally),
		requests: prometheus.NewDesc("lacre_edge_domain_requests_total",
			"Requests by domain and class of the status code.", append(labels[:3:3], "code"), nil),
		bytes: prometheus.NewDesc("lacre_edge_domain_response_bytes_total",
			"Bytes of response bodies by domain.", labels, nil),
		seconds: prometheus.NewDesc("lacre_edge_domain_request_seconds_total",
			"Time of all requests together by domain; WebSockets count for as long as they last.", labels, nil),
	}
}

// of returns where the requests of s are counted.
func (m *domainMetrics) of(s *site) *tally {
	m.mu.RLock()
	t, room := m.tallies[s.id], len(m.tallies) < m.max
	m.mu.RUnlock()
	if t != nil && t.host == s.host {
		return t
	}
	if t == nil && !room {
		return &m.other
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t = m.tallies[s.id]
	switch {
	case t != nil && t.host == s.host:
		return t
	case t == nil && len(m.tallies) >= m.max:
		return &m.other
	}
	t = &tally{project: s.project, domain: s.id, host: s.host}
	m.tallies[s.id] = t
	return t
}

// Describe implements prometheus.Collector.
func (m *domainMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.requests
	ch <- m.bytes
	ch <- m.seconds
}

// Collect implements prometheus.Collector. It forgets the domains that are gone.
func (m *domainMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, t := range m.living() {
		labels := []string{t.project, t.domain, t.host}
		for class := range t.requests {
			if n := t.requests[class].Load(); n > 0 {
				ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n),
					append(labels[:3:3], strconv.Itoa(class)+"xx")...)
			}
		}
		ch <- prometheus.MustNewConstMetric(m.bytes, prometheus.CounterValue, float64(t.bytes.Load()), labels...)
		ch <- prometheus.MustNewConstMetric(m.seconds, prometheus.CounterValue, float64(t.micros.Load())/1e6, labels...)
	}
}

// living returns the tallies whose domains are still served under their host.
func (m *domainMetrics) living() []*tally {
	m.holdings.mu.Lock()
	defer m.holdings.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []*tally{&m.other}
	for id, t := range m.tallies {
		if s := m.holdings.sites[id]; s == nil || s.host != t.host {
			delete(m.tallies, id)
			continue
		}
		all = append(all, t)
	}
	return all
}
