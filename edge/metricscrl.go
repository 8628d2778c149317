package edge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// clientRefused counts a client that this package turned away, not crypto/tls.
func (m *metrics) clientRefused(err error) {
	reason := "unverified"
	switch {
	case errors.Is(err, errRevoked):
		reason = "revoked"
	case errors.Is(err, errStaleCRL):
		reason = "crl_stale"
	case errors.Is(err, errUnread):
		reason = "crl_unreadable"
	}
	m.clients.WithLabelValues(reason).Inc()
}

// collectCRLs shows when the lists go stale, soonest of each certificate, at most
// maxSeries of them.
func (m *metrics) collectCRLs(ch chan<- prometheus.Metric, versions []*version) {
	shown := 0
	for _, v := range versions {
		x := v.served.revoked.Load()
		if x == nil || len(x.lists) == 0 || shown == maxSeries {
			continue
		}
		shown++
		ch <- prometheus.MustNewConstMetric(m.crlDue, prometheus.GaugeValue,
			float64(x.due().Unix()), v.served.key.project, v.served.key.id)
	}
}
