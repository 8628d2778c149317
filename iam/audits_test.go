package iam_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

type auditsBody struct {
	Size   int
	Audits []struct {
		ID, Time, Action, Resource, Detail string
		UserName                           string `json:"user_name"`
		UserID                             string `json:"user_id"`
		Source                             string
		RequestID                          string `json:"request_id"`
	}
	NextMarker string `json:"next_marker"`
}

// Who made this user? The administrators of an account read it, and what is in another
// account is not there for them.
func TestAuditOfAnAccount(t *testing.T) {
	o := newOffice(t)
	eve := o.stored(t, o.two, "eve", bobHash, "")
	_, err := o.ChangeUser(t.Context(), lacre.Caller{}, eve.ID, promote)
	fatal(t, err)
	stranger := o.keyed(t, eve)
	var made userBody
	o.call(t, o.boss, "POST", "/v3/users", `{"user":{"name":"carl","password":"first password","administrator":true}}`, 201, &made)
	carl := "user/" + made.User.ID
	o.clock.Advance(time.Second)
	o.call(t, stranger, "POST", "/v3/projects", `{"project":{"name":"theirs"}}`, 201, nil)
	o.clock.Advance(time.Second)
	o.call(t, o.boss, "PUT", "/v3/projects/"+o.one.ID+"/users/"+made.User.ID+"/roles/operator", "", 204, nil)

	var all, ofCarl, theirs auditsBody
	o.call(t, o.boss, "GET", "/v3/audit", "", 200, &all)
	if len(all.Audits) != 2 || all.Size != 2 || all.NextMarker != "" {
		t.Fatalf("got %+v, want the two changes of the account", all)
	}
	if got := all.Audits[0]; got.Action != "iam:permissions:grantRole" || got.Resource != carl || got.Detail != "operator in project "+o.one.ID ||
		got.UserID != o.ada.ID || got.UserName != "ada" || got.Source != "192.0.2.10" || got.RequestID == "" || got.Time != "2026-01-01T00:00:02Z" {
		t.Errorf("the newest: got %+v", got)
	}
	if got := all.Audits[1]; got.Action != "iam:users:create" || got.Resource != carl || got.Detail != "name carl, administrator" {
		t.Errorf("the one before: got %+v", got)
	}
	paged := all
	paged.Audits = nil
	for marker := "?limit=1"; marker != ""; {
		var page auditsBody
		o.call(t, o.boss, "GET", "/v3/audit"+marker, "", 200, &page)
		if paged.Audits = append(paged.Audits, page.Audits...); page.Size > 1 {
			t.Errorf("got %d rows, want one at most", page.Size)
		}
		if marker = ""; page.NextMarker != "" {
			marker = "?limit=1&marker=" + page.NextMarker
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
	o.call(t, o.boss, "GET", "/v3/audit?resource="+carl+"x", "", 200, &ofCarl)
	if len(ofCarl.Audits) != 0 || ofCarl.Audits == nil {
		t.Errorf("of another resource: got %+v, want an empty list", ofCarl)
	}
	o.call(t, stranger, "GET", "/v3/audit", "", 200, &theirs)
	if len(theirs.Audits) != 1 || theirs.Audits[0].Action != "iam:projects:create" || theirs.Audits[0].UserName != "eve" {
		t.Errorf("the other account: got %+v, want its own change", theirs)
	}
}

func TestAuditOfAnAccountRefuses(t *testing.T) {
	o := newOffice(t)
	o.call(t, o.keyed(t, o.alice), "GET", "/v3/audit", "", 403, nil)
	o.call(t, o.boss, "GET", "/v3/audit?marker=1", "", 400, nil)
	o.call(t, o.boss, "GET", "/v3/audit?limit=some", "", 400, nil)
	o.users.down.Store(true)
	o.call(t, o.boss, "GET", "/v3/audit", "", 500, nil)
}
