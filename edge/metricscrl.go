package edge

import "errors"

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
