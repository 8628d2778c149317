package api

import (
	"context"
	"net/http"
	"time"
)

// readyTime is how long /readyz waits for its answer: less than probes usually do.
const readyTime = 2 * time.Second

// health is the answer to probes, for people to read: probes look at the status.
type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// alive says that the process answers. It looks at nothing else, so that an outage of
// the store does not get every node restarted.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, health{Status: "alive"})
}

// ready says whether this node can do its work.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			writeJSON(w, http.StatusServiceUnavailable, health{"unavailable", err.Error()})
			return
		}
	}
	writeJSON(w, http.StatusOK, health{Status: "ready"})
}

// document serves the OpenAPI description.
func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.Write(OpenAPI)
}
