package edge_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
)

const domainRequests = "lacre_edge_domain_requests_total"

// TestDomainMetrics: a domain that was asked for has its series until it goes, under the
// name it has now; a request for an unknown host has none.
func TestDomainMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, proxying, func(c *edge.Config) { c.Metrics = registry })
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(rw, "hello")
	})
	d, _ := w.site("*.example.com", upstream(b.URL))
	w.site("idle.example.com", upstream(b.URL))
	client := w.client(true)
	for _, path := range []string{"/", "/", "/missing"} {
		request(t, client, "https://a.example.com"+path)
	}
	if status, _ := w.ask("http://b.example.com/"); status != 200 {
		t.Fatalf("over plain HTTP: got %d, want 200", status)
	}
	want := func(name string, want float64, labels ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(name, labels, " to be ", want), func() bool { return value(t, registry, name, labels...) == want })
	}
	want(domainRequests, 3, w.project, d.ID, "*.example.com", "2xx")
	want(domainRequests, 1, d.ID, "4xx")
	want("lacre_edge_domain_response_bytes_total", 15, d.ID)
	if got := value(t, registry, "lacre_edge_domain_request_seconds_total", d.ID); got <= 0 {
		t.Errorf("got %v s, want some", got)
	}
	want(domainRequests, -1, "idle.example.com")
	w.ask("http://unknown.test/")
	want(domainRequests, -1, "unknown.test")
	want(domainRequests, -1, "other")

	d.Upstream = b.URL + "/base" // any change but of its name goes on with the count
	w.store(d)
	request(t, client, "https://a.example.com/")
	want(domainRequests, 4, d.ID, "2xx")
	w.commit(lacre.Tx{Delete: []lacre.Record{d}})
	want(domainRequests, -1, d.ID, "2xx")
}

// TestDomainMetricsAreBounded: domains beyond the bound are counted together, until one of
// the others goes.
func TestDomainMetricsAreBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(c *edge.Config) { c.Metrics, c.DomainMetrics = registry, 3 })
	var domains []*lacre.Domain
	ask := func(i int) {
		if status, err := request(t, w.client(true), fmt.Sprintf("https://d%d.example.com/", i)); status != 200 {
			t.Fatalf("got %d, %v, want 200", status, err)
		}
	}
	for i := range 8 {
		d, _ := w.site(fmt.Sprintf("d%d.example.com", i))
		domains = append(domains, d)
		ask(i)
	}
	want := func(series int, other float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d series and %v other requests", series, other), func() bool {
			return countSeries(t, registry, domainRequests) == series && value(t, registry, domainRequests, "other") == other
		})
	}
	want(4, 5)
	w.commit(lacre.Tx{Delete: []lacre.Record{domains[0]}})
	want(3, 5)
	ask(7)
	want(4, 5)
}

func countSeries(t *testing.T, registry *prometheus.Registry, name string) int {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return len(f.GetMetric())
		}
	}
	return 0
}
