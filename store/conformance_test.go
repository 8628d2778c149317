package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	conformance(t, open(t))
}

func TestExternal(t *testing.T) {
	t.Parallel()
	conformance(t, external(t, serve(t, false)))
}

func TestExternalWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	conformance(t, external(t, serve(t, true)))
}

// conformance is what lacre.Store promises, asked of a fresh store.
func conformance(t *testing.T, s *store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *store.Store)
	}{
		{"empty", testEmpty},
		{"every record comes back as it was", testRoundTrip},
		{"absent", testAbsent},
		{"count", testCount},
		{"guards", testGuards},
		{"lists", testLists},
		{"secrets", testSecrets},
		{"secrets replaced", testReplace},
		{"people", testPeople},
		{"revocations", testRevocations},
		{"audits", testAudits},
		{"watch", testWatch},
		{"health", testHealth},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func testEmpty(t *testing.T, s *store.Store) {
	if _, err := s.CreateSecret(t.Context(), "early", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if empty, err := s.Empty(t.Context()); err != nil || !empty {
		t.Errorf("Empty with a secret only: got %v, %v; want true", empty, err)
	}
	user := &lacre.User{ID: id("first")}
	revision := put(t, s, user)
	if empty, err := s.Empty(t.Context()); err != nil || empty {
		t.Errorf("Empty with a user: got %v, %v; want false", empty, err)
	}
	commit(t, s, lacre.Tx{Delete: []lacre.Record{revised(user, revision)}})
	put(t, s, &lacre.Project{ID: id("first")})
	if empty, err := s.Empty(t.Context()); err != nil || empty {
		t.Errorf("Empty with a project: got %v, %v; want false", empty, err)
	}
}

func testRoundTrip(t *testing.T, s *store.Store) {
	all := append(everyRecord(id("roundtrip")), laterRecords(id("roundtrip"))...)
	revision := put(t, s, all...)
	for _, r := range all {
		want := atRevision(r, revision)
		got, err := fetch(t.Context(), s, r)
		if err != nil {
			t.Errorf("reading %T: %v", r, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%T (-want +got):\n%s", r, diff)
		}
	}
}

func testCount(t *testing.T, s *store.Store) {
	p, other := id("count"), id("count-other")
	for n := range 3 {
		put(t, s, &lacre.Certificate{ProjectID: p, ID: fmt.Sprint("c", n)}, &lacre.CertificateName{ProjectID: p, Name: fmt.Sprint("cert_", n)})
	}
	put(t, s, &lacre.Certificate{ProjectID: other, ID: "c0"}, &lacre.Version{ProjectID: p, CertificateID: "c0", Number: 1})
	for project, want := range map[string]int{p: 3, other: 1, "": 0} {
		if got, err := s.CountCertificates(t.Context(), project); got != want || err != nil {
			t.Errorf("certificates of %q: got %d, %v; want %d", project, got, err, want)
		}
	}
}

func testAbsent(t *testing.T, s *store.Store) {
	for _, r := range everyRecord(id("absent")) {
		if _, err := fetch(t.Context(), s, clearIdentity(r)); !errors.Is(err, lacre.ErrNotStored) {
			t.Errorf("%T without identity: got %v, want ErrNotStored", r, err)
		}
	}
	p := id("absent")
	if _, err := s.Domain(t.Context(), p, id("none")); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("absent domain: got %v, want ErrNotStored", err)
	}
	if _, _, err := s.LatestVersion(t.Context(), p, id("none")); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("latest version of no certificate: got %v, want ErrNotStored", err)
	}
	if got, err := s.CountCertificates(t.Context(), p); got != 0 || err != nil {
		t.Errorf("count of an empty project's certificates: got %d, %v; want none", got, err)
	}
	if got, err := s.Certificates(t.Context(), p); len(got) != 0 || err != nil {
		t.Errorf("certificates of an empty project: got %v, %v; want none", got, err)
	}
}

func testGuards(t *testing.T, s *store.Store) {
	p := id("guards")
	old := domain(p, "guarded.example")
	at := put(t, s, old)
	stored, absent, stale := revised(old, at), domain(p, "absent.example"), revised(old, at-1)
	other := domain(p, "other.example")
	for _, c := range []struct {
		name string
		tx   lacre.Tx
		want lacre.Record // the culprit; nil for success
	}{
		{"create what is there", lacre.Tx{Put: []lacre.Record{other, old}}, old},
		{"replace what has moved", lacre.Tx{Put: []lacre.Record{other, stale}}, stale},
		{"replace what is gone", lacre.Tx{Put: []lacre.Record{other, revised(absent, at)}}, revised(absent, at)},
		{"delete what has moved", lacre.Tx{Put: []lacre.Record{other}, Delete: []lacre.Record{stale}}, stale},
		{"delete what is gone", lacre.Tx{Delete: []lacre.Record{revised(absent, at)}}, revised(absent, at)},
		{"check what has moved", lacre.Tx{Put: []lacre.Record{other}, Check: []lacre.Record{stale}}, stale},
		{"check that nothing is there", lacre.Tx{Put: []lacre.Record{other}, Check: []lacre.Record{old}}, old},
		{"forget what is gone", lacre.Tx{Forget: []lacre.Record{absent}}, nil},
		{"check what is right", lacre.Tx{Check: []lacre.Record{stored, absent}}, nil},
		{"replace what is right", lacre.Tx{Put: []lacre.Record{stored}}, nil},
	} {
		c.tx.Audit = auditOf(p)
		_, err := s.Commit(t.Context(), c.tx)
		conflict, _ := errors.AsType[*lacre.ConflictError](err)
		switch {
		case c.want == nil && err != nil:
			t.Errorf("%s: got %v, want success", c.name, err)
		case c.want != nil && conflict == nil:
			t.Errorf("%s: got %v, want a conflict", c.name, err)
		case c.want != nil && !cmp.Equal(conflict.Record, c.want):
			t.Errorf("%s: got a conflict about %v, want %v", c.name, conflict.Record, c.want)
		}
	}
	if _, err := s.Domain(t.Context(), p, other.ID); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("a refused change left a record behind: %v", err)
	}
	if rows := audits(t, s, p); len(rows) != 3 {
		t.Errorf("got %d audit rows, want 3: refused changes leave none", len(rows))
	}
}

func testLists(t *testing.T, s *store.Store) {
	p, c := id("lists"), id("certificate")
	a, b := domain(p, "a.example"), domain(p, "b.example")
	revision := put(t, s, &lacre.Project{ID: p}, a, b,
		&lacre.Group{ID: "1", ProjectID: p, InstanceID: "i"}, &lacre.Group{ID: "2", ProjectID: p, InstanceID: "j"},
		&lacre.Instance{ID: "i", ProjectID: p}, &lacre.Certificate{ID: c, ProjectID: p, Version: 2},
		&lacre.Certificate{ID: c + "0", ProjectID: p}, &lacre.Bound{ProjectID: p, CertificateID: c, DomainID: a.ID, Host: a.Host},
		&lacre.Bound{ProjectID: p, CertificateID: c + "0", DomainID: b.ID},
		version(p, c, 1), version(p, c, 2), version(p, c, 10), version(p, c+"0", 1))

	groups, err := s.Groups(t.Context(), p, "i")
	same(t, "Groups", err, groups, []*lacre.Group{{ID: "1", ProjectID: p, InstanceID: "i", Revision: revision}})
	instances, err := s.Instances(t.Context(), p)
	same(t, "Instances", err, instances, []*lacre.Instance{{ID: "i", ProjectID: p, Revision: revision}})
	bound, err := s.Bound(t.Context(), p, c)
	same(t, "Bound", err, bound, []*lacre.Bound{{ProjectID: p, CertificateID: c, DomainID: a.ID, Host: a.Host, Revision: revision}})
	certificates, err := s.Certificates(t.Context(), p)
	same(t, "number of Certificates", err, len(certificates), 2)
	domains, err := s.Domains(t.Context(), p, []string{b.ID, id("none"), "", a.ID, b.ID})
	same(t, "Domains", err, domains, []*lacre.Domain{revised(b, revision), revised(a, revision), revised(b, revision)})
	versions, err := s.Versions(t.Context(), p, c)
	same(t, "Versions", err, versions, []*lacre.Version{revised(version(p, c, 10), revision),
		revised(version(p, c, 2), revision), revised(version(p, c, 1), revision)})
	latest, damaged, err := s.LatestVersion(t.Context(), p, c)
	same(t, "LatestVersion", err, latest, revised(version(p, c, 2), revision))
	same(t, "damaged", err, len(damaged), 0)
	var visited int
	_, _, err = s.AllDomains(t.Context(), func(d *lacre.Domain) error {
		if d.ProjectID == p {
			visited++
		}
		return nil
	})
	same(t, "domains visited", err, visited, 2)
}

func same[T any](t *testing.T, what string, err error, got, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testSecrets(t *testing.T, s *store.Store) {
	p := id("secrets")
	for _, c := range []struct {
		name   string
		read   func() ([]byte, error)
		create func([]byte) ([]byte, error)
	}{
		{"secret", func() ([]byte, error) { return s.Secret(t.Context(), "ticket/key") },
			func(v []byte) ([]byte, error) { return s.CreateSecret(t.Context(), "ticket/key", v) }},
		{"data key", func() ([]byte, error) { return s.DataKey(t.Context(), p) },
			func(v []byte) ([]byte, error) { return s.CreateDataKey(t.Context(), p, v) }},
	} {
		got, err := c.read()
		same(t, c.name+" before", err, got, nil)
		got, err = c.create([]byte("winner"))
		same(t, c.name+" created", err, got, []byte("winner"))
		got, err = c.create([]byte("late"))
		same(t, c.name+" created again", err, got, []byte("winner"))
		got, err = c.read()
		same(t, c.name+" after", err, got, []byte("winner"))
	}
}

func testPeople(t *testing.T, s *store.Store) {
	u := &lacre.User{ID: id("ana"), AccountName: "acme", Name: "ana/ops", Roles: map[string]lacre.Role{"p": lacre.RoleViewer}}
	p := &lacre.Project{ID: id("people"), Name: "region_1", AccountName: "acme"}
	revision := put(t, s, u, p, &lacre.UserName{AccountName: "acme", Name: "ana/ops", UserID: u.ID},
		&lacre.ProjectName{AccountName: "acme", Name: "region_1", ProjectID: p.ID})
	gotUser, err := s.UserByName(t.Context(), "acme", "ana/ops")
	same(t, "UserByName", err, gotUser, revised(u, revision))
	gotProject, err := s.ProjectByName(t.Context(), "acme", "region_1")
	same(t, "ProjectByName", err, gotProject, revised(p, revision))
	if _, err := s.UserByName(t.Context(), "acme/ana", "ops"); !errors.Is(err, lacre.ErrNotStored) {
		t.Errorf("a name that shifts its slash: got %v, want ErrNotStored", err)
	}
	users, err := s.Users(t.Context())
	same(t, "a user is listed", err, containsUser(users, u.ID), true)
	projects, err := s.Projects(t.Context())
	same(t, "projects are listed", err, len(projects) >= 2, true)
	testKeysAndRoles(t, s, u.ID)
}

func testKeysAndRoles(t *testing.T, s *store.Store, userID string) {
	mine := &lacre.AccessKey{ID: "AKMINE", UserID: userID, SealedSecret: []byte("sealed")}
	ours := &lacre.PermissionGroup{AccountName: "acme", Name: "renewer", Permissions: []lacre.Permission{lacre.CanGetCertificate}}
	revision := put(t, s, mine, &lacre.AccessKey{ID: "AKOTHER", UserID: id("other")}, ours,
		&lacre.PermissionGroup{AccountName: "acme2", Name: "renewer"})
	keys, err := s.AccessKeys(t.Context(), userID)
	same(t, "the keys of a user", err, keys, []*lacre.AccessKey{revised(mine, revision)})
	keys, err = s.AccessKeys(t.Context(), id("nobody"))
	same(t, "the keys of nobody", err, len(keys), 0)
	groups, err := s.PermissionGroups(t.Context(), "acme")
	same(t, "the roles of an account", err, groups, []*lacre.PermissionGroup{revised(ours, revision)})
}

func containsUser(users []*lacre.User, id string) bool {
	for _, u := range users {
		if u.ID == id {
			return true
		}
	}
	return false
}

func testRevocations(t *testing.T, s *store.Store) {
	if err := s.Revoke(t.Context(), "token", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), "over", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{"token": true, "over": false, "tok": false} {
		got, err := s.Revoked(t.Context(), token)
		same(t, "Revoked "+token, err, got, want)
	}
}

func testAudits(t *testing.T, s *store.Store) {
	put(t, s, &lacre.Project{ID: "p1"})
	putAudits(t, s, rowsFrom(epoch, 40)...)
	want := audits(t, s, "p1")
	packAudits(t, s)
	same(t, "packed audits", nil, audits(t, s, "p1"), want)
	same(t, "their keys", nil, len(auditKeys(t, s, "p1")), 1)
}

func testHealth(t *testing.T, s *store.Store) {
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("Health: %v", err)
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Revision < 2 || stats.DBBytes == 0 || stats.QuotaBytes == 0 {
		t.Errorf("Stats: got %+v, %v", stats, err)
	}
}
