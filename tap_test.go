package lacre_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lacre"
)

// tap is the shared store as one test sees it. It remembers every record that was ever
// written through it, so that a test can look at all of them, and makes calls fail when
// the test says so.
type tap struct {
	lacre.Store

	mu      sync.Mutex
	written map[string]lacre.Record // identity -> identifying fields only
	read    func(lacre.Record) error
	commit  func(context.Context, lacre.Tx) (int64, error)
}

func newTap(s lacre.Store) *tap { return &tap{Store: s, written: map[string]lacre.Record{}} }

// onRead decides about every read of one record, of which it is given the identifying
// fields; nil lets it happen. Lists leave out what it calls unreadable.
func (s *tap) onRead(f func(lacre.Record) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = f
}

// onCommit takes the place of Commit; the store's own is s.Store.Commit.
func (s *tap) onCommit(f func(context.Context, lacre.Tx) (int64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit = f
}

func (s *tap) Commit(ctx context.Context, tx lacre.Tx) (int64, error) {
	s.mu.Lock()
	for _, r := range tx.Put {
		id := identity(r)
		s.written[key(id)] = id
	}
	commit := s.commit
	s.mu.Unlock()
	if err := fits(tx); err != nil {
		return 0, err
	}
	if commit != nil {
		return commit(ctx, tx)
	}
	return s.Store.Commit(ctx, tx)
}

// fits holds every transaction to the limit an external etcd has unless told otherwise;
// the embedded one would take more.
func fits(tx lacre.Tx) error {
	const most = 128
	writes := len(tx.Put) + len(tx.Delete)
	if n := max(writes+len(tx.Check), writes+len(tx.Forget)+1); n > most {
		return fmt.Errorf("%d operations in one transaction, at most %d", n, most)
	}
	return nil
}

func (s *tap) fault(r lacre.Record) error {
	s.mu.Lock()
	read := s.read
	s.mu.Unlock()
	if read == nil {
		return nil
	}
	return read(r)
}

// one reads a record unless the test says otherwise.
func one[R lacre.Record](s *tap, r R, read func() (R, error)) (R, error) {
	var none R
	if err := s.fault(r); err != nil {
		return none, err
	}
	return read()
}

// list does to a list what the contract of lacre.Store says about its members.
func list[R lacre.Record](s *tap, all []R, err error) ([]R, error) {
	var kept []R
	for _, r := range all {
		fault := s.fault(identity(r))
		if _, damaged := errors.AsType[*lacre.UnreadableError](fault); damaged {
			continue
		}
		if fault != nil {
			return nil, fault
		}
		kept = append(kept, r)
	}
	return kept, err
}

func (s *tap) Instance(ctx context.Context, project, id string) (*lacre.Instance, error) {
	return one(s, &lacre.Instance{ProjectID: project, ID: id}, func() (*lacre.Instance, error) { return s.Store.Instance(ctx, project, id) })
}

func (s *tap) Instances(ctx context.Context, project string) ([]*lacre.Instance, error) {
	all, err := s.Store.Instances(ctx, project)
	return list(s, all, err)
}

func (s *tap) Group(ctx context.Context, project, id string) (*lacre.Group, error) {
	return one(s, &lacre.Group{ProjectID: project, ID: id}, func() (*lacre.Group, error) { return s.Store.Group(ctx, project, id) })
}

func (s *tap) Groups(ctx context.Context, project, instance string) ([]*lacre.Group, error) {
	all, err := s.Store.Groups(ctx, project, instance)
	return list(s, all, err)
}

func (s *tap) Domain(ctx context.Context, project, id string) (*lacre.Domain, error) {
	return one(s, &lacre.Domain{ProjectID: project, ID: id}, func() (*lacre.Domain, error) { return s.Store.Domain(ctx, project, id) })
}

func (s *tap) Domains(ctx context.Context, project string, ids []string) ([]*lacre.Domain, error) {
	all, err := s.Store.Domains(ctx, project, ids)
	return list(s, all, err)
}

func (s *tap) Host(ctx context.Context, project, instance, host string) (*lacre.Host, error) {
	return one(s, &lacre.Host{ProjectID: project, InstanceID: instance, Host: host}, func() (*lacre.Host, error) { return s.Store.Host(ctx, project, instance, host) })
}

func (s *tap) Certificate(ctx context.Context, project, id string) (*lacre.Certificate, error) {
	return one(s, &lacre.Certificate{ProjectID: project, ID: id}, func() (*lacre.Certificate, error) { return s.Store.Certificate(ctx, project, id) })
}

func (s *tap) Certificates(ctx context.Context, project string) ([]*lacre.Certificate, error) {
	all, err := s.Store.Certificates(ctx, project)
	return list(s, all, err)
}

func (s *tap) CertificateName(ctx context.Context, project, instance, name string) (*lacre.CertificateName, error) {
	return one(s, &lacre.CertificateName{ProjectID: project, InstanceID: instance, Name: name},
		func() (*lacre.CertificateName, error) { return s.Store.CertificateName(ctx, project, instance, name) })
}

func (s *tap) Version(ctx context.Context, project, certificate string, number int) (*lacre.Version, error) {
	return one(s, &lacre.Version{ProjectID: project, CertificateID: certificate, Number: number},
		func() (*lacre.Version, error) { return s.Store.Version(ctx, project, certificate, number) })
}

func (s *tap) Revocations(ctx context.Context, project, certificate string) (*lacre.Revocations, error) {
	return one(s, &lacre.Revocations{ProjectID: project, CertificateID: certificate},
		func() (*lacre.Revocations, error) { return s.Store.Revocations(ctx, project, certificate) })
}

func (s *tap) Bound(ctx context.Context, project, certificate string) ([]*lacre.Bound, error) {
	all, err := s.Store.Bound(ctx, project, certificate)
	return list(s, all, err)
}

// identity is r with its identifying fields only.
func identity(r lacre.Record) lacre.Record {
	switch r := r.(type) {
	case *lacre.Project:
		return &lacre.Project{ID: r.ID}
	case *lacre.Instance:
		return &lacre.Instance{ProjectID: r.ProjectID, ID: r.ID}
	case *lacre.InstanceName:
		return &lacre.InstanceName{ProjectID: r.ProjectID, Name: r.Name}
	case *lacre.Group:
		return &lacre.Group{ProjectID: r.ProjectID, ID: r.ID}
	case *lacre.GroupName:
		return &lacre.GroupName{ProjectID: r.ProjectID, InstanceID: r.InstanceID, Name: r.Name}
	case *lacre.Domain:
		return &lacre.Domain{ProjectID: r.ProjectID, ID: r.ID}
	case *lacre.Host:
		return &lacre.Host{ProjectID: r.ProjectID, InstanceID: r.InstanceID, Host: r.Host}
	case *lacre.Certificate:
		return &lacre.Certificate{ProjectID: r.ProjectID, ID: r.ID}
	case *lacre.CertificateName:
		return &lacre.CertificateName{ProjectID: r.ProjectID, InstanceID: r.InstanceID, Name: r.Name}
	case *lacre.Version:
		return &lacre.Version{ProjectID: r.ProjectID, CertificateID: r.CertificateID, Number: r.Number}
	case *lacre.Revocations:
		return &lacre.Revocations{ProjectID: r.ProjectID, CertificateID: r.CertificateID}
	case *lacre.Bound:
		return &lacre.Bound{ProjectID: r.ProjectID, CertificateID: r.CertificateID, DomainID: r.DomainID}
	}
	panic(fmt.Sprintf("the service writes no %T", r))
}

func key(r lacre.Record) string { return fmt.Sprintf("%T %+v", r, r) }

// stored is every record of the test's project as the store holds it now, by identity:
// what a dry run and a refused call must leave as it is. A record without a read of its
// own (the name claims of groups and instances) stands as its identity.
func (s *tap) stored(t testing.TB) map[string]lacre.Record {
	t.Helper()
	s.mu.Lock()
	written := maps.Clone(s.written)
	s.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	now := map[string]lacre.Record{}
	for k, id := range written {
		wg.Go(func() {
			r, err := s.readBack(t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				now[k] = r
			} else if !errors.Is(err, lacre.ErrNotStored) {
				t.Errorf("reading %s: %v", k, err)
			}
		})
	}
	wg.Wait()
	return now
}

func (s *tap) readBack(ctx context.Context, r lacre.Record) (lacre.Record, error) {
	switch r := r.(type) {
	case *lacre.Project:
		return s.Store.Project(ctx, r.ID)
	case *lacre.Instance:
		return s.Store.Instance(ctx, r.ProjectID, r.ID)
	case *lacre.Group:
		return s.Store.Group(ctx, r.ProjectID, r.ID)
	case *lacre.Domain:
		return s.Store.Domain(ctx, r.ProjectID, r.ID)
	case *lacre.Host:
		return s.Store.Host(ctx, r.ProjectID, r.InstanceID, r.Host)
	case *lacre.Certificate:
		return s.Store.Certificate(ctx, r.ProjectID, r.ID)
	case *lacre.CertificateName:
		return s.Store.CertificateName(ctx, r.ProjectID, r.InstanceID, r.Name)
	case *lacre.Version:
		return s.Store.Version(ctx, r.ProjectID, r.CertificateID, r.Number)
	case *lacre.Revocations:
		return s.Store.Revocations(ctx, r.ProjectID, r.CertificateID)
	case *lacre.Bound:
		all, err := s.Store.Bound(ctx, r.ProjectID, r.CertificateID)
		if i := slices.IndexFunc(all, func(b *lacre.Bound) bool { return b.DomainID == r.DomainID }); i >= 0 {
			return all[i], err
		}
		return nil, cmp.Or(err, lacre.ErrNotStored)
	}
	return r, s.exists(ctx, r)
}

// exists asks with the guards of a change that never happens: the store names the first
// guard that fails, and the second one always does.
func (s *tap) exists(ctx context.Context, r lacre.Record) error {
	never := &lacre.Instance{ProjectID: "nobody", ID: "nothing", Revision: 1}
	_, err := s.Store.Commit(ctx, lacre.Tx{Check: []lacre.Record{r, never}, Audit: lacre.Audit{Action: "test:probe"}})
	conflict, ok := errors.AsType[*lacre.ConflictError](err)
	switch {
	case !ok:
		return fmt.Errorf("probing: %w", err)
	case conflict.Record == r:
		return nil
	}
	return lacre.ErrNotStored
}

// wantUnchanged checks that act changes nothing in the project, its audit included.
func (w *world) wantUnchanged(act func()) {
	w.t.Helper()
	before, rows := w.tap.stored(w.t), w.audits()
	act()
	if diff := gocmp.Diff(before, w.tap.stored(w.t)); diff != "" {
		w.t.Errorf("the records changed (-before +after):\n%s", diff)
	}
	if diff := gocmp.Diff(rows, w.audits()); diff != "" {
		w.t.Errorf("the audit changed (-before +after):\n%s", diff)
	}
}
