package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/api"
	"lacre/internal/testcert"
)

// The versions of a certificate and the way back, on both products.
func TestVersions(t *testing.T) {
	w := newWorld(t)
	for _, product := range []string{"apigw", "apic"} {
		c := w.on(product)
		first := c.post("/certificates", w.form("web_cert", "www.a.test")).ok(200)
		path := "/certificates/" + first.text("id")
		second := c.put(path, with(w.rsaForm("web_cert", "www.a.test", "*.b.test"), "trusted_root_ca", w.ca.PEM())).ok(200)
		list := c.as("viewer." + w.project).get(path + "/versions").ok(200)
		if list.object()["size"] != 2.0 || list.object()["total"] != 2.0 {
			t.Errorf("got %s, want two versions", list.raw)
		}
		for i, a := range []*answer{second, first} {
			got, shown := list.list("versions")[i], a.object()
			if got["version_id"] != float64(2-i) || got["current"] != (i == 0) || got["damaged"] != false || len(got["fingerprint"].(string)) != 64 {
				t.Errorf("got %v, want version %d with its fingerprint, the newest current", got, 2-i)
			}
			for _, same := range []string{"common_name", "san", "not_before", "not_after", "serial_number", "issuer", "algorithm_type", "signature_algorithm", "is_has_trusted_root_ca"} {
				if diff := cmp.Diff(shown[same], got[same]); diff != "" {
					t.Errorf("%s of version %d (-shown +listed):\n%s", same, 2-i, diff)
				}
			}
		}
		if page := c.get(path + "/versions?offset=1&limit=1").ok(200); page.object()["total"] != 2.0 || len(page.list("versions")) != 1 || page.list("versions")[0]["version_id"] != 1.0 {
			t.Errorf("got the page %s, want version 1 of two", page.raw)
		}
		c.get(path+"/versions?limit=x").refused(400, "APIG.2012", "parameterName:limit")

		dry := c.post(path+"/rollback?dry_run=true", obj{"version_id": 1}).ok(200)
		if dry.Header.Get("X-Lacre-Dry-Run") != "true" || dry.Header.Get("ETag") != "" || dry.text("serial_number") != first.text("serial_number") {
			t.Errorf("got %v %s, want what would be, without an ETag", dry.Header, dry.raw)
		}
		c.post(path+"/rollback", obj{"version_id": 1}, "If-Match", `"1"`).refused(412, "LACRE.0412")
		c.as("viewer."+w.project).post(path+"/rollback", obj{"version_id": 1}).refused(403, "APIG.1005")
		back := c.as("operator."+w.project).post(path+"/rollback", obj{"version_id": 1}, "If-Match", `"2"`).ok(200)
		if back.Header.Get("ETag") != `"3"` || !strings.HasPrefix(back.Header.Get("X-Lacre-Warning"), "Client certificates of these CAs are not accepted any more: CN=Test CA,O=Throw-away (sha256 ") {
			t.Errorf("got %v, want the next ETag, and what is not trusted any more", back.Header)
		}
		if diff := cmp.Diff(with(first.object(), "update_time", back.text("update_time")), back.object()); diff != "" {
			t.Errorf("%s: the first (-) and what came back (+) differ:\n%s", product, diff)
		}
		if again := c.post(path+"/rollback", obj{"version_id": 1}).ok(200); again.Header.Get("ETag") != `"4"` || c.get(path + "/versions").object()["total"] != 3.0 {
			t.Errorf("got %v, want no version of what is current", again.Header)
		}
		c.delete(path).ok(204)
		c.get(path+"/versions").refused(404, "APIG.3021")
		c.post(path+"/rollback", obj{"version_id": 1}).refused(404, "APIG.3021")
	}
}

func TestRollbackRefusals(t *testing.T) {
	w := newWorld(t)
	id := w.certificate(w.form("web_cert", "www.a.test"))
	path := "/certificates/" + id
	w.put(path, w.form("web_cert", "*.a.test")).ok(200)
	group := w.group("shop")
	w.domain(group, "api.a.test")
	w.post(path+"/domains/attach", obj{"domains": []obj{{"domain": "api.a.test"}}}).ok(204)
	for what, row := range map[string]struct {
		body   any
		number string
		pieces []string
	}{
		"nothing":     {obj{}, "APIG.2001", []string{"parameterName:version_id"}},
		"text":        {obj{"version_id": "1"}, "APIG.2000", []string{"parameterName:version_id", "a whole number"}},
		"half of one": {obj{"version_id": 1.5}, "APIG.2000", []string{"a whole number"}},
		"too early":   {obj{"version_id": 0}, "APIG.2011", []string{"parameterName:version_id", "expected one of the versions kept, 1 to 2"}},
		"too late":    {obj{"version_id": 3}, "APIG.2011", []string{"1 to 2"}},
		"not covered": {obj{"version_id": 1}, "APIG.2103", []string{"version_id: cert_content of version 1: ", "www.a.test", "api.a.test"}},
	} {
		t.Log(what)
		w.post(path+"/rollback", row.body).refused(400, row.number, row.pieces...)
	}
	if got := w.get(path).ok(200).Header.Get("ETag"); got != `"2"` {
		t.Errorf("got ETag %s after refusals, want \"2\"", got)
	}
	w.get(path+"/versions?dry_run=true").refused(400, "APIG.2012", "dry_run")
}

// A version that expires in the meantime does not come back.
func TestRollbackToWhatHasExpired(t *testing.T) {
	later := time.Duration(0)
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) {
		now := c.Now
		c.Now = func() time.Time { return now().Add(later) }
	})
	leaf := w.ca.Leaf(t, []string{"www.a.test"}, testcert.WithValidity(start.Add(-time.Hour), start.Add(time.Hour)))
	path := "/certificates/" + w.certificate(obj{"name": "web_cert", "cert_content": leaf.CertPEM(), "private_key": leaf.KeyPEM()})
	w.put(path, w.form("web_cert", "www.a.test")).ok(200)
	later = 2 * time.Hour
	w.post(path+"/rollback", obj{"version_id": 1}).refused(400, "APIG.2102", "version_id: cert_content of version 1: ", "expired at 2026-11-20T09:00:00Z")
}

// silent is a key service that does not answer.
type silent struct{ lacre.Sealer }

func (silent) Open(context.Context, string, []byte, []byte) ([]byte, error) {
	return nil, errors.New("the key service is silent")
}

func TestRollbackWhileTheKeyServiceIsSilent(t *testing.T) {
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Sealer = silent{c.Sealer} })
	path := "/certificates/" + w.certificate(w.form("web_cert", "www.a.test"))
	w.put(path, w.form("web_cert", "www.a.test")).ok(200)
	got := w.post(path+"/rollback", obj{"version_id": 1})
	got.refused(500, "APIG.9999", "version_id: the private key of version 1 could not be opened now: the log says why")
	if strings.Contains(string(got.raw), "silent") || !strings.Contains(w.log.String(), "the key service is silent") {
		t.Errorf("got %s, want the reason in the log only", got.raw)
	}
}

// rotten is a store in which one version cannot be read.
type rotten struct {
	lacre.Store
	number int
}

func (r rotten) Version(ctx context.Context, project, id string, number int) (*lacre.Version, error) {
	if number == r.number {
		return nil, &lacre.UnreadableError{Record: &lacre.Version{ProjectID: project, CertificateID: id, Number: number}, Key: "/its/key", Err: errors.New("checksum")}
	}
	return r.Store.Version(ctx, project, id, number)
}

func TestDamagedVersionIsListedAsSuch(t *testing.T) {
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Store = rotten{c.Store, 1} })
	path := "/certificates/" + w.certificate(w.form("web_cert", "www.a.test"))
	w.put(path, w.form("web_cert", "www.a.test")).ok(200)
	list := w.get(path + "/versions").ok(200).list("versions")
	if diff := cmp.Diff(obj{"version_id": 1.0, "current": false, "damaged": true}, list[1]); len(list) != 2 || diff != "" {
		t.Errorf("the damaged version (-want +got):\n%s", diff)
	}
	w.post(path+"/rollback", obj{"version_id": 1}).refused(500, "APIG.9999", "version_id: version 1 is damaged")
}
