package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre"
)

// metrics is what the API counts, as documented by the help texts below.
type metrics struct {
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	modifications *prometheus.CounterVec
	modifying     prometheus.Histogram
	throttled     *prometheus.CounterVec
}

// newMetrics registers the API's metrics. Labels take their values from the code, never
// from a request: route is a pattern, or "unmatched".
func newMetrics(to prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_api_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lacre_api_request_seconds", Help: "Time from the request's header to the end of its answer.",
			Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		modifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_certificate_modifications_total", Help: "Certificate modifications by result: ok, or why not.",
		}, []string{"result"}),
		modifying: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "lacre_certificate_modification_seconds",
			Help:    "Time a successful modification took, until it was durable and this node's edge served it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lacre_api_throttled_total",
			Help: "Requests refused for coming too fast (callers, strangers, identity) or finding no free place (places).",
		}, []string{"limit"}),
	}
	to.MustRegister(m.requests, m.seconds, m.modifications, m.modifying, m.throttled)
	return m
}

// request counts one answer. Methods that no route has count as one.
func (m *metrics) request(route, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// modification counts one attempt; only those that succeeded are timed, since a refusal
// is quick and would flatter the rest.
func (m *metrics) modification(err error, took time.Duration) {
	if err != nil {
		m.modifications.WithLabelValues(string(lacre.CodeOf(err))).Inc()
		return
	}
	m.modifications.WithLabelValues("ok").Inc()
	m.modifying.Observe(took.Seconds())
}
