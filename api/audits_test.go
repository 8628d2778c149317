package api_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"lacre"
)

// Everything that was changed, by pages, and who changed one certificate.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("cert_one", "www.a.test"))
	w.put("/certificates/"+id, w.form("cert_one", "www.a.test"), "X-Request-Id", "of-the-change").ok(200)
	w.certificate(w.form("cert_two", "www.b.test"))

	rows := w.get("/audit?resource=" + url.QueryEscape("certificate/"+id)).ok(200)
	if rows.object()["size"] != 2.0 || rows.object()["next_marker"] != nil {
		t.Errorf("got %s, want the two changes of one certificate, and no more", rows.raw)
	}
	row := rows.list("audits")[0]
	for name, want := range map[string]any{
		"action": "apig:certificate:update", "resource": "certificate/" + id, "user_id": "u-admin", "user_name": "admin",
		"source": "127.0.0.1", "request_id": "of-the-change",
	} {
		if row[name] != want {
			t.Errorf("got %s %v, want %v", name, row[name], want)
		}
	}
	if detail, _ := row["detail"].(string); !strings.Contains(detail, "name cert_one, version 2") {
		t.Errorf("got detail %q, want what the certificate became", detail)
	}

	var all []string
	marker := ""
	for n, want := range []float64{3, 1} {
		page := w.on("apic").get("/audit?limit=3&marker=" + marker).ok(200)
		for _, row := range page.list("audits") {
			all = append(all, row["id"].(string))
		}
		marker, _ = page.object()["next_marker"].(string)
		if got := page.object()["size"]; got != want || (marker == "") != (n == 1) {
			t.Errorf("page %d: got %v rows and next_marker %q, want %v", n, got, marker, want)
		}
	}
	if slices.Reverse(all); len(all) != 4 || !slices.IsSorted(all) || len(slices.Compact(all)) != 4 {
		t.Errorf("got rows %q from the oldest on, want the four there are", all)
	}
}

func TestAuditIsRefused(t *testing.T) {
	w := newWorld(t)
	for query, pieces := range map[string][]string{
		"limit=many":                        {"parameterName:limit", "whole number"},
		"marker=7":                          {"parameterName:marker", "32 hexadecimal digits"},
		"marker=" + strings.Repeat("f", 32): {"parameterName:marker", "id of an audit row"},
		"dry_run=true":                      {"parameterName:dry_run"},
	} {
		w.get("/audit?"+query).refused(400, "APIG.2012", pieces...)
	}
	for _, role := range []string{"viewer", "operator"} { // rows name people and their addresses
		w.as(role+"."+w.project).get("/audit").refused(403, "APIG.1005")
	}
	stranger := lacre.NewID()
	w.as("admin."+stranger).get("/audit").refused(403, "APIG.1005")
	theirs := *w.client
	theirs.base = w.url + "/v2/" + stranger + "/apigw"
	if got := theirs.as("admin." + stranger).get("/audit").ok(200).object(); got["size"] != 0.0 || got["next_marker"] != nil {
		t.Errorf("got %v, want nothing of another project", got)
	}
	w.as("").get("/audit").refused(401, "APIG.1000")
	w.post("/audit", obj{}).refused(404, "APIGW.0101")
}
