package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lacre"
)

// maxWait is how long a modification waits for every node at most: well below the time that
// an answer may take.
const maxWait = time.Minute

// wait is how long the client prefers to wait (RFC 7240 section 4.3), 0 if it does not say.
// What is malformed is passed over, as that asks for; more than maxWait is that.
func (x *exchange) wait() time.Duration {
	for _, preference := range strings.Split(strings.Join(x.Header.Values("Prefer"), ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if strings.EqualFold(strings.TrimSpace(name), "wait") && err == nil {
			return min(time.Duration(seconds)*time.Second, maxWait)
		}
	}
	return 0
}

// awaited is certificateReply once every node serves what was written, if the client prefers to
// wait for that. Who waits has no place among the requests being worked on.
func (x *exchange) awaited(written *lacre.Written, dryRun bool) (*reply, error) {
	out, patience := certificateReply(written, dryRun), x.wait()
	if dryRun || patience == 0 {
		return out, nil
	}
	select {
	case x.waiting <- struct{}{}:
		defer func() { <-x.waiting }()
	default:
		out.warnings = append(out.warnings, "The change is stored; too many requests wait for all nodes for this one to wait, too.")
		return out, nil
	}
	x.leave()
	waits, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	defer context.AfterFunc(x.Stopping, cancel)()
	late, err := x.Service.AwaitRollout(x.Context(), x.caller, written.Certificate, waits.Done())
	out.warnings = append(out.warnings, late...)
	if x.Stopping.Err() == nil { // else the wait was cut off
		out.waited = patience
	}
	return out, err
}

// rollout answers GET …/certificates/{certificate_id}/rollout, an extension.
func (x *exchange) rollout() (*reply, error) {
	r, err := x.Service.Rollout(x.Context(), x.caller, x.project, x.certificate)
	return showing(http.StatusOK, rolloutOf, r, err)
}

type rollout struct {
	CertificateID string      `json:"certificate_id"`
	Version       int         `json:"version_id"`
	Fingerprint   string      `json:"fingerprint"`
	Complete      bool        `json:"complete"`
	Size          int         `json:"size"`
	Nodes         []placement `json:"nodes"`
}

type placement struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	InstanceID string `json:"instance_id"` // empty: it serves all
	State      string `json:"state"`
	Proof      string `json:"proof"` // handshake or loaded; empty unless it serves
	Reason     string `json:"reason"`
	Alive      bool   `json:"alive"`
	Started    string `json:"start_time"`
	Reported   string `json:"report_time"`
}

func rolloutOf(r *lacre.Rollout) rollout {
	return rollout{r.Certificate.ID, r.Certificate.Version, r.Fingerprint, r.Complete, len(r.Nodes), each(r.Nodes, placementOf)}
}

func placementOf(p lacre.Placement) placement {
	out := placement{ID: p.ID, Name: p.Name, InstanceID: p.Instance, State: string(p.State), Reason: p.Reason,
		Alive: p.Alive, Started: utc(p.Started), Reported: utc(p.Reported)}
	switch {
	case p.State != lacre.StateServing:
	case p.Presented:
		out.Proof = "handshake"
	default:
		out.Proof = "loaded"
	}
	return out
}
