package lacre

import (
	"context"
	"regexp"
)

// auditID is the form of Audit.ID.
var auditID = regexp.MustCompile(`^[0-7][0-9a-f]{31}$`)

// ListAudits returns what was changed in a project, newest first (API, an extension: GET
// …/audit). The limit is clamped like that of any list. A page can be shorter than that,
// and even empty, and there still be more: it is the last one when it has no Next.
func (s *Service) ListAudits(ctx context.Context, by Caller, projectID string, q AuditQuery) (AuditPage, error) {
	if err := s.allow(ctx, by, projectID, CanListAudits); err != nil {
		return AuditPage{}, err
	}
	q, err := q.Checked()
	if err != nil {
		return AuditPage{}, err
	}
	page, err := s.Store.Audits(ctx, projectID, q)
	return page, storeError(err)
}

// Checked returns q with its limit clamped like that of any list, and CodeInvalidParameter
// if After is no ID of a row.
func (q AuditQuery) Checked() (AuditQuery, error) {
	if q.After != "" && !auditID.MatchString(q.After) {
		return q, FieldErrorf(CodeInvalidParameter, "marker", "expected the id of an audit row, 32 hexadecimal digits")
	}
	q.Limit = Page{Limit: q.Limit}.size()
	return q, nil
}
