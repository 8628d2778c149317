package lacre_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

func (w *world) listAudits(q lacre.AuditQuery) lacre.AuditPage {
	w.t.Helper()
	page, err := w.ListAudits(w.t.Context(), w.admin, w.project, q)
	w.ok(err)
	return page
}

// Who changed this certificate? The limit is clamped like that of any list.
func TestListAudits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.create(w.upload("web_cert", "www.a.test")), w.create(w.upload("other_cert", "www.b.test"))
	_, err := w.tryModify(c.ID, w.upload("web_cert", "www.a.test"))
	w.ok(err)
	page := w.listAudits(lacre.AuditQuery{Resource: "certificate/" + c.ID})
	var actions []lacre.Permission
	for _, a := range page.Audits {
		actions = append(actions, a.Action)
	}
	if diff := cmp.Diff([]lacre.Permission{lacre.CanModifyCertificate, lacre.CanCreateCertificate}, actions); diff != "" || page.Next != "" {
		t.Errorf("next page at %q; actions (-want +got):\n%s", page.Next, diff)
	}
	if all := w.listAudits(lacre.AuditQuery{}).Audits; len(all) != 3 || all[1].Resource != "certificate/"+other.ID {
		t.Errorf("got %v, want all three changes", all)
	}
	for n := range 503 {
		_, err := w.tryInstance(fmt.Sprintf("gateway_%03d", n))
		w.ok(err)
	}
	for limit, want := range map[int]int{-1: 20, 0: 20, 1: 1, 500: 500, 501: 500} {
		if got := w.listAudits(lacre.AuditQuery{Limit: limit}); len(got.Audits) != want || got.Next != got.Audits[want-1].ID {
			t.Errorf("limit %d: got %d rows and %q next, want %d", limit, len(got.Audits), got.Next, want)
		}
	}
	whole := w.audits()
	if page := w.listAudits(lacre.AuditQuery{After: whole[499].ID}); !cmp.Equal(page.Audits, whole[500:]) || page.Next != "" {
		t.Errorf("after row 500: got %d rows and %q next, want the last 6", len(page.Audits), page.Next)
	}
}

func TestListAuditsRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, marker := range []string{"1", strings.Repeat("f", 32), strings.Repeat("0", 33), "../" + strings.Repeat("0", 29), "0 " + strings.Repeat("0", 30)} {
		_, err := w.ListAudits(t.Context(), w.admin, w.project, lacre.AuditQuery{After: marker})
		wantCode(t, err, lacre.CodeInvalidParameter)
		if fieldOf(err) != "marker" {
			t.Errorf("marker %q: got %v, want the field marker", marker, err)
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := w.ListAudits(ctx, w.admin, w.project, lacre.AuditQuery{})
	wantCode(t, err, lacre.CodeUnavailable)
}

// A role can be made that reads the audit and does nothing else. Nobody reads that of others.
func TestWhoReadsTheAudit(t *testing.T) {
	t.Parallel()
	w, theirs := newWorld(t), newWorld(t)
	c := theirs.create(theirs.upload("web_cert", "www.a.test"))
	w.create(w.upload("web_cert", "www.a.test"))
	auditor := w.caller("auditor")
	auditor.Group = &lacre.PermissionGroup{Name: "auditor", Permissions: []lacre.Permission{lacre.CanListAudits}}
	page, err := w.ListAudits(t.Context(), auditor, w.project, lacre.AuditQuery{})
	if err != nil || len(page.Audits) != 1 || page.Audits[0].ProjectID != w.project {
		t.Errorf("got %v, %v; want the one change of the project", page.Audits, err)
	}
	if got := w.listAudits(lacre.AuditQuery{Resource: "certificate/" + c.ID}); len(got.Audits) != 0 || got.Next != "" {
		t.Errorf("got %v about another project's certificate, want nothing", got)
	}
	newest := theirs.audits()[0].ID
	if got := w.listAudits(lacre.AuditQuery{After: newest}); len(got.Audits) > 1 || len(got.Audits) == 1 && got.Audits[0].ProjectID != w.project {
		t.Errorf("got %v after another project's row, want nothing of that", got)
	}
}
