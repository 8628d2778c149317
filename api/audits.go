package api

import (
	"net/http"

	"lacre"
)

// listAudits answers GET …/audit, an extension.
func (x *exchange) listAudits() (*reply, error) {
	limit, err := x.number("limit")
	if err != nil {
		return nil, err
	}
	q := lacre.AuditQuery{Resource: x.query.Get("resource"), After: x.query.Get("marker"), Limit: limit}
	page, err := x.Service.ListAudits(x.Context(), x.caller, x.project, q)
	return showing(http.StatusOK, auditsOf, page, err)
}

// audits is a page of the audit. There is no total: nobody has counted the rows.
type audits struct {
	Size       int     `json:"size"`
	Audits     []audit `json:"audits"`
	NextMarker string  `json:"next_marker,omitempty"` // absent at the end
}

// audit is one change.
type audit struct {
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

func auditsOf(p lacre.AuditPage) audits {
	return audits{len(p.Audits), each(p.Audits, func(a lacre.Audit) audit {
		return audit{a.ID, utc(a.Time), a.Action, a.Resource, a.Detail, a.UserID, a.UserName, a.Source, a.RequestID}
	}), p.Next}
}
