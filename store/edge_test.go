package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

func TestAllDomainsIsOneRevision(t *testing.T) {
	t.Parallel()
	s := open(t)
	const each = 5
	for _, p := range []string{"p1", "p2", "p2-", "p3"} { // p2- sorts between the keys of p2 and p3
		records := []lacre.Record{&lacre.Project{ID: p}}
		for i := range each {
			records = append(records, domain(p, fmt.Sprintf("%d.%s.example", i, p)))
		}
		put(t, s, records...)
	}
	before, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	revision, damaged, err := s.AllDomains(t.Context(), func(d *lacre.Domain) error {
		if len(seen) == 0 { // what happens meanwhile belongs to a later revision
			put(t, s, domain("p3", "late.example"))
		}
		seen[d.Name] = true
		return nil
	})
	if err != nil || len(damaged) != 0 || len(seen) != 4*each || revision != before.Revision {
		t.Errorf("got %d domains, %d damaged, revision %d, %v; want %d, 0, %d",
			len(seen), len(damaged), revision, err, 4*each, before.Revision)
	}
	if c := collect(t, s, revision, 1)[0]; c.Put[0].(*lacre.Domain).Name != "late.example" {
		t.Errorf("watching from there: got %+v, want the late one", c)
	}
}

func TestAllDomainsHeedsItsVisitor(t *testing.T) {
	t.Parallel()
	s := open(t)
	put(t, s, &lacre.Project{ID: "p1"}, domain("p1", "a.example"), domain("p1", "b.example"))
	enough, visits := errors.New("enough"), 0
	_, _, err := s.AllDomains(t.Context(), func(*lacre.Domain) error { visits++; return enough })
	if !errors.Is(err, enough) || visits != 1 {
		t.Errorf("got %v after %d visits, want the visitor's error after 1", err, visits)
	}
}

// More domains than one page holds, and a project whose own record is damaged.
func TestAllDomainsPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := &lacre.Project{ID: "p1"}
	put(t, s, p)
	const total = 5003
	for from := 0; from < total; from += 250 {
		var batch []lacre.Record
		for i := from; i < min(from+250, total); i++ {
			batch = append(batch, domain("p1", fmt.Sprintf("%d.example", i)))
		}
		put(t, s, batch...)
	}
	if err := damageOf(t.Context(), s, p, []byte("damage")); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	_, _, err := s.AllDomains(t.Context(), func(d *lacre.Domain) error { seen[d.ID] = true; return nil })
	if err != nil || len(seen) != total {
		t.Errorf("got %d domains, %v; want %d", len(seen), err, total)
	}
}

func TestLatestVersionPassesDamageOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		damage  []int // versions; 0 is the certificate's record
		want    int   // 0: none
		damaged int
	}{
		{"nothing damaged", nil, 3, 0},
		{"the latest", []int{3}, 2, 1},
		{"the two latest", []int{2, 3}, 1, 2},
		{"an old one", []int{1}, 3, 0},
		{"the certificate", []int{0}, 3, 1},
		{"the certificate and the latest", []int{0, 3}, 2, 2},
		{"everything", []int{0, 1, 2, 3}, 0, 4},
	} {
		s := open(t)
		certificate := &lacre.Certificate{ProjectID: "p1", ID: "c1", Version: 3}
		put(t, s, certificate, version("p1", "c1", 1), version("p1", "c1", 2), version("p1", "c1", 3))
		for _, n := range c.damage {
			var r lacre.Record = certificate
			if n > 0 {
				r = version("p1", "c1", n)
			}
			if err := damageOf(t.Context(), s, r, []byte("\x01\x00\x00\x00\x00damage")); err != nil {
				t.Fatal(err)
			}
		}
		checkLatest(t, s, c.name, c.want, c.damaged)
	}
}

func checkLatest(t *testing.T, s *store.Store, name string, want, wantDamaged int) {
	t.Helper()
	v, damaged, err := s.LatestVersion(t.Context(), "p1", "c1")
	if len(damaged) != wantDamaged {
		t.Errorf("%s: got %d damaged, want %d", name, len(damaged), wantDamaged)
	}
	if want == 0 {
		wantUnreadable(t, name, err)
		return
	}
	if err != nil || v.Number != want {
		t.Errorf("%s: got %+v, %v; want version %d", name, v, err, want)
	}
}

func TestVersionsLeaveDamageOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	revision := put(t, s, version("p1", "c1", 1), version("p1", "c1", 2))
	if err := damageOf(t.Context(), s, version("p1", "c1", 2), nil); err != nil {
		t.Fatal(err)
	}
	got, err := s.Versions(t.Context(), "p1", "c1")
	if diff := cmp.Diff([]*lacre.Version{revised(version("p1", "c1", 1), revision)}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestLatestVersionsOfMany(t *testing.T) {
	t.Parallel()
	s := open(t)
	const count = 2100 // more than two transactions
	var ids []string
	var records []lacre.Record
	for i := range count {
		id := fmt.Sprintf("c%d", i)
		ids = append(ids, id)
		if i%100 != 50 { // those are not stored
			records = append(records, &lacre.Certificate{ProjectID: "p1", ID: id, Version: 2}, version("p1", id, 1), version("p1", id, 2))
		}
	}
	for some := range slices.Chunk(records, 900) {
		put(t, s, some...)
	}
	if err := damageOf(t.Context(), s, version("p1", "c7", 2), nil); err != nil {
		t.Fatal(err)
	}
	got, err := s.LatestVersions(t.Context(), "p1", ids)
	if err != nil || len(got) != count {
		t.Fatalf("got %d, %v, want %d", len(got), err, count)
	}
	for i, l := range got {
		switch {
		case i%100 == 50:
			if !errors.Is(l.Err, lacre.ErrNotStored) {
				t.Errorf("%s: got %+v, want not stored", ids[i], l)
			}
		case l.Err != nil || l.Version.CertificateID != ids[i]:
			t.Errorf("%s: got %+v", ids[i], l)
		case i == 7 && (l.Version.Number != 1 || len(l.Damaged) != 1), i != 7 && l.Version.Number != 2:
			t.Errorf("%s: got version %d, %d damaged", ids[i], l.Version.Number, len(l.Damaged))
		}
	}
}

func TestHostDomains(t *testing.T) {
	t.Parallel()
	s := open(t)
	claim := func(project, instance, host, domain string) []lacre.Record {
		return []lacre.Record{&lacre.Domain{ProjectID: project, InstanceID: instance, ID: domain, Host: host},
			&lacre.Host{ProjectID: project, InstanceID: instance, Host: host, DomainID: domain}}
	}
	put(t, s, &lacre.Project{ID: "p1"}, &lacre.Instance{ProjectID: "p1", ID: "i1"}, &lacre.Instance{ProjectID: "p1", ID: "i2"})
	put(t, s, &lacre.Project{ID: "p2"}, &lacre.Instance{ProjectID: "p2", ID: "i1"})
	put(t, s, claim("p1", "i1", "a.test", "d1")...)
	put(t, s, claim("p2", "i1", "*.test", "d2")...)
	put(t, s, claim("p1", "i2", "other.test", "d3")...)
	put(t, s, claim("p1", "i2", "a.test", "d4")...)
	if err := damageOf(t.Context(), s, &lacre.Domain{ProjectID: "p1", ID: "d4"}, nil); err != nil {
		t.Fatal(err)
	}
	instances, err := s.AllInstances(t.Context())
	if err != nil || len(instances) != 3 {
		t.Fatalf("got %d instances, %v, want 3", len(instances), err)
	}
	domains, err := s.HostDomains(t.Context(), instances, "a.test", "*.test")
	var ids []string
	for _, d := range domains {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"d1", "d2"}, ids); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if none, err := s.HostDomains(t.Context(), instances, "b.b.test"); err != nil || len(none) != 0 {
		t.Errorf("a host that nobody claims: got %d, %v", len(none), err)
	}
}
