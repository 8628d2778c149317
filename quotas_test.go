package lacre_test

import (
	"fmt"
	"sync"
	"testing"

	"lacre"
)

// twoNodes are two services over one store, for a project that IAM keeps.
func twoNodes(t *testing.T, edit func(*lacre.Config)) (*world, [2]*lacre.Service) {
	t.Helper()
	w := newWorld(t, edit)
	c := lacre.Config{Store: w.tap, Sealer: sharedSealer}
	edit(&c)
	_, err := sharedStore.Commit(t.Context(), lacre.Tx{
		Put:   []lacre.Record{&lacre.Project{ID: w.project, Name: "p-" + w.project, AccountID: lacre.NewID(), AccountName: "acme"}},
		Audit: lacre.Audit{ProjectID: w.project, Action: "test:project"},
	})
	w.ok(err)
	return w, [2]*lacre.Service{w.Service, lacre.NewService(c)}
}

// storm adds things from both nodes at once and returns how many came through; the others
// must have been refused with code.
func storm(t *testing.T, nodes [2]*lacre.Service, code lacre.Code, add func(s *lacre.Service, n int) error) (added int) {
	t.Helper()
	errs := make([]error, 14)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { errs[n] = add(nodes[n%2], n) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			added++
		} else {
			wantCode(t, err, code)
		}
	}
	return added
}

func TestInstanceQuotaIsExact(t *testing.T) {
	w, nodes := twoNodes(t, func(c *lacre.Config) { c.InstancesPerProject = 4 })
	add := func(s *lacre.Service, n int) error {
		_, err := s.CreateInstance(t.Context(), w.admin, w.project, fmt.Sprintf("edge_%d", n))
		return err
	}
	if got := storm(t, nodes, lacre.CodeQuota, add); got != 4 {
		t.Errorf("got %d instances added, want 4", got)
	}
	all, total, err := w.ListInstances(t.Context(), w.admin, w.project, lacre.InstanceFilter{})
	w.ok(err)
	if total != 4 {
		t.Fatalf("got %d instances, want 4", total)
	}
	w.ok(w.tryDropInstance(all[0]))
	w.ok(add(nodes[1], 100)) // the place is free again
	wantCode(t, add(nodes[0], 101), lacre.CodeQuota)
}

func TestGroupQuotaIsExact(t *testing.T) {
	w, nodes := twoNodes(t, func(c *lacre.Config) { c.GroupsPerInstance = 3 })
	i, other := w.instance(), w.instance()
	add := func(s *lacre.Service, n int) error {
		_, err := s.CreateGroup(t.Context(), w.admin, w.project, i.ID, lacre.GroupInput{Name: fmt.Sprintf("group_%d", n)})
		return err
	}
	if got := storm(t, nodes, lacre.CodeGroupQuota, add); got != 3 {
		t.Errorf("got %d groups added, want 3", got)
	}
	groups, total, err := w.ListGroups(t.Context(), w.admin, w.project, lacre.GroupFilter{InstanceID: i.ID})
	w.ok(err)
	if total != 3 {
		t.Fatalf("got %d groups, want 3", total)
	}
	w.group(other) // each instance has its own quota
	w.ok(w.tryDropGroup(groups[0].Group))
	w.ok(add(nodes[1], 100))
	wantCode(t, add(nodes[0], 101), lacre.CodeGroupQuota)
	w.wantConsistent()
}

func TestCertificateQuotaIsExact(t *testing.T) {
	w, nodes := twoNodes(t, func(c *lacre.Config) { c.CertificatesPerProject = 3 })
	in := w.upload("", "www.a.test")
	i := w.instance()
	add := func(s *lacre.Service, n int) error {
		own := in
		if n%3 == 0 {
			own = confined(in, i) // both scopes count
		}
		own.Name = fmt.Sprintf("cert_%d", n)
		_, err := s.CreateCertificate(t.Context(), w.admin, w.project, own, lacre.WriteOptions{})
		return err
	}
	if got := storm(t, nodes, lacre.CodeQuota, add); got != 3 {
		t.Errorf("got %d certificates added, want 3", got)
	}
	certs := w.list(lacre.CertificateFilter{})
	if len(certs) != 3 {
		t.Fatalf("got %d certificates, want 3", len(certs))
	}
	w.ok(w.tryDelete(certs[0].ID))
	d := w.home("www.a.test")
	in.Name = "cert_of_a_domain"
	_, _, err := w.CreateDomainCertificate(t.Context(), w.admin, w.project, d.InstanceID, d.GroupID, d.ID, in)
	w.ok(err)
	in.Name = "cert_of_too_many"
	_, err = w.CreateCertificate(t.Context(), w.admin, w.project, in, lacre.WriteOptions{DryRun: true})
	wantCode(t, err, lacre.CodeQuota)
	wantCode(t, add(nodes[0], 101), lacre.CodeQuota)
	w.wantConsistent()
}

// A project without a record is counted all the same.
func TestQuotaOfAProjectThatIAMDoesNotKeep(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.InstancesPerProject = 1 })
	w.instance()
	_, err := w.CreateInstance(t.Context(), w.admin, w.project, "edge_two")
	wantCode(t, err, lacre.CodeQuota)
}
