package iam

import (
	"net/http"
	"strconv"
	"time"

	"lacre"
)

// listAudits answers GET /v3/audit?limit=&marker=&resource=, an extension: what was changed in
// the account by identity calls, newest first, in the shapes of GET …/audit of a project.
func (a *IAM) listAudits(w http.ResponseWriter, r *http.Request) error {
	s, err := a.administrator(r)
	if err != nil {
		return err
	}
	q, err := auditQuery(r)
	if err != nil {
		return err
	}
	q.AccountID = s.user.AccountID
	page, err := a.users.Audits(r.Context(), "", q)
	if err != nil {
		return storeError("reading the audit", err)
	}
	writeJSON(w, http.StatusOK, answerAudits(page))
	return nil
}

func auditQuery(r *http.Request) (lacre.AuditQuery, error) {
	query := r.URL.Query()
	q := lacre.AuditQuery{Resource: query.Get("resource"), After: query.Get("marker")}
	if text := query.Get("limit"); text != "" {
		var err error
		if q.Limit, err = strconv.Atoi(text); err != nil {
			return q, lacre.FieldErrorf(lacre.CodeInvalidParameter, "limit", "expected a whole number")
		}
	}
	return q.Checked()
}

type auditsAnswer struct {
	Size       int           `json:"size"`
	Audits     []auditAnswer `json:"audits"`
	NextMarker string        `json:"next_marker,omitempty"` // absent at the end
}

type auditAnswer struct {
	ID        string           `json:"id"`
	Time      string           `json:"time"`
	Action    lacre.Permission `json:"action"`
	Resource  string           `json:"resource"`
	Detail    string           `json:"detail"`
	UserID    string           `json:"user_id"`
	UserName  string           `json:"user_name"`
	Source    string           `json:"source"`
	RequestID string           `json:"request_id"`
}

func answerAudits(p lacre.AuditPage) auditsAnswer {
	rows := make([]auditAnswer, len(p.Audits))
	for i, row := range p.Audits {
		rows[i] = auditAnswer{row.ID, row.Time.UTC().Format(time.RFC3339), row.Action, row.Resource, row.Detail,
			row.UserID, row.UserName, row.Source, row.RequestID}
	}
	return auditsAnswer{len(rows), rows, p.Next}
}
