package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"lacre"
)

// AllDomains visits every readable domain of every project as of one revision and
// returns that revision: Watch from there and nothing is missed. Domains that cannot be
// read are returned, and stop nothing. An error of visit ends the visit.
//
// Projects are found by their records' keys: a domain belongs to a project that is
// stored (readable or not). lacre.ErrCompacted means that the visit took longer than
// history is kept: start again.
func (s *Store) AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (
	revision int64, unreadable []*lacre.UnreadableError, err error) {
	revision, ids, err := s.projectIDs(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, id := range ids {
		prefix, err := under("p", id, "domain")
		if err != nil {
			return revision, unreadable, err
		}
		_, bad, err := records(ctx, s, prefix, revision, visit)
		unreadable = append(unreadable, bad...)
		if err != nil {
			return revision, unreadable, err
		}
	}
	return revision, unreadable, nil
}

// projectIDs lists the projects by key alone, so that a damaged record hides nothing.
func (s *Store) projectIDs(ctx context.Context) (revision int64, ids []string, err error) {
	revision, err = s.each(ctx, projects, 0, func(kv *mvccpb.KeyValue) error {
		if p, ok := identify(string(kv.Key)).(*lacre.Project); ok {
			ids = append(ids, p.ID)
		}
		return nil
	}, clientv3.WithKeysOnly())
	return revision, ids, err
}

// LatestVersion returns the version that the certificate's record names. If the record
// or that version is unreadable it returns the newest readable older version instead,
// and damaged says what was passed over. When nothing is readable the error is the
// first damage; without a certificate it is lacre.ErrNotStored.
func (s *Store) LatestVersion(ctx context.Context, projectID, certificateID string) (
	v *lacre.Version, damaged []*lacre.UnreadableError, err error) {
	all, err := s.LatestVersions(ctx, projectID, []string{certificateID})
	if err != nil {
		return nil, nil, err
	}
	return all[0].Version, all[0].Damaged, all[0].Err
}

// LatestVersions is LatestVersion of many certificates of one project, in their order. The
// error is one of the store as a whole.
func (s *Store) LatestVersions(ctx context.Context, projectID string, certificateIDs []string) ([]lacre.Latest, error) {
	all := make([]lacre.Latest, 0, len(certificateIDs))
	for ids := range slices.Chunk(certificateIDs, s.maxOps) {
		some, err := s.latest(ctx, projectID, ids)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// AllVersions visits the newest readable version of every certificate that is wanted, as of
// one revision, which it returns. Of the certificates that it asks wanted about only Scope,
// InstanceID, Version and Bound are filled in beside the ids; one that is damaged is wanted.
// It reads in the order of keys, which takes a fraction of the time of LatestVersions in any
// other order. visit is called by several goroutines; its error ends the visit.
func (s *Store) AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool,
	visit func(projectID, certificateID string, l lacre.Latest) error) (revision int64, err error) {
	revision, projects, err := s.projectIDs(ctx)
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, project := range projects {
		if err = s.versionsOf(ctx, group, project, revision, wanted, visit); err != nil {
			break
		}
	}
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	return revision, err
}

// readers is how many transactions AllVersions has under way: one is decoded while the
// next is read.
const readers = 2

// versionsOf is AllVersions of one project. It leaves the reading of versions to group.
func (s *Store) versionsOf(ctx context.Context, group *errgroup.Group, project string, at int64, wanted func(*lacre.Certificate) bool,
	visit func(projectID, certificateID string, l lacre.Latest) error) error {
	prefix, err := under("p", project, "cert")
	if err != nil {
		return err
	}
	var ids []string
	var heads []entry
	read := func() {
		someIDs, someHeads := ids, heads
		ids, heads = nil, nil
		group.Go(func() error {
			all, err := s.named(ctx, project, someIDs, someHeads, at)
			for i := 0; err == nil && i < len(all); i++ {
				err = visit(project, someIDs[i], all[i])
			}
			return err
		})
	}
	_, err = s.each(ctx, prefix, at, func(kv *mvccpb.KeyValue) error {
		c, bad := decodeHead(kv)
		if c == nil || bad == nil && !wanted(c) {
			return nil
		}
		head := entry{record: c}
		if bad != nil {
			head = entry{err: bad}
		}
		if ids, heads = append(ids, c.ID), append(heads, head); len(ids) == s.maxOps {
			read()
		}
		return ctx.Err()
	})
	read()
	return err
}

// latest is LatestVersions of no more certificates than one transaction can read.
func (s *Store) latest(ctx context.Context, projectID string, ids []string) ([]lacre.Latest, error) {
	wanted := make([]lacre.Record, len(ids))
	for i, id := range ids {
		wanted[i] = &lacre.Certificate{ProjectID: projectID, ID: id}
	}
	certificates, at, err := s.manyAt(ctx, wanted, 0)
	if err != nil {
		return nil, fmt.Errorf("reading certificates of project %s: %w", projectID, err)
	}
	return s.named(ctx, projectID, ids, certificates, at)
}

// named reads the versions that certificates, read at a revision, name. It reads them as
// of that revision, too: a modification in between cannot part the two.
func (s *Store) named(ctx context.Context, projectID string, ids []string, certificates []entry, at int64) ([]lacre.Latest, error) {
	wanted := make([]lacre.Record, len(ids))
	for i, c := range certificates {
		if c.err == nil {
			wanted[i] = &lacre.Version{ProjectID: projectID, CertificateID: ids[i], Number: c.record.(*lacre.Certificate).Version}
		}
	}
	versions, _, err := s.manyAt(ctx, wanted, at)
	if err != nil {
		return nil, fmt.Errorf("reading versions of project %s: %w", projectID, err)
	}
	all := make([]lacre.Latest, len(ids))
	for i := range ids {
		if all[i], err = s.settled(ctx, projectID, ids[i], at, certificates[i], versions[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// settled makes a Latest of what was found of a certificate and of the version it names.
func (s *Store) settled(ctx context.Context, projectID, id string, at int64, c, v entry) (l lacre.Latest, err error) {
	if c.err != nil {
		v = c
	}
	bad, damaged := errors.AsType[*lacre.UnreadableError](v.err)
	switch {
	case damaged:
		l.Version, l.Damaged, l.Err = s.newestReadable(ctx, projectID, id, at, bad)
		if errors.Is(l.Err, lacre.ErrUnavailable) || errors.Is(l.Err, lacre.ErrCompacted) {
			return l, l.Err
		}
	case v.err != nil:
		l.Err = fmt.Errorf("certificate %s: %w", id, v.err)
	default:
		l.Version = v.record.(*lacre.Version)
	}
	return l, nil
}

// LatestRevocations returns the revocation lists of a certificate, nil when it has none,
// and the revision that was read.
func (s *Store) LatestRevocations(ctx context.Context, projectID, certificateID string) (
	r *lacre.Revocations, revision int64, err error) {
	r, revision, err = oneAt(ctx, s, &lacre.Revocations{ProjectID: projectID, CertificateID: certificateID}, 0)
	if errors.Is(err, lacre.ErrNotStored) {
		return nil, revision, nil
	}
	return r, revision, err
}

// newestReadable is LatestVersion after the first damage.
func (s *Store) newestReadable(ctx context.Context, projectID, certificateID string, at int64,
	first *lacre.UnreadableError) (*lacre.Version, []*lacre.UnreadableError, error) {
	versions, unreadable, err := s.versions(ctx, projectID, certificateID, at)
	if err != nil {
		return nil, []*lacre.UnreadableError{first}, err
	}
	damaged := []*lacre.UnreadableError{first}
	newest := ""
	if len(versions) > 0 {
		newest, _ = keyOf(versions[0]) // it has just been read under that key
	}
	for _, bad := range slices.Backward(unreadable) {
		if bad.Key != first.Key && strings.Compare(bad.Key, newest) > 0 {
			damaged = append(damaged, bad)
		}
	}
	if len(versions) == 0 {
		return nil, damaged, fmt.Errorf("certificate %s has no readable version: %w", certificateID, first)
	}
	return versions[0], damaged, nil
}

// Versions returns the readable versions of a certificate, newest first.
func (s *Store) Versions(ctx context.Context, projectID, certificateID string) ([]*lacre.Version, error) {
	versions, unreadable, err := s.versions(ctx, projectID, certificateID, 0)
	for _, bad := range unreadable {
		s.log.ErrorContext(ctx, "a list leaves out a record", "err", bad)
	}
	return versions, err
}

// versions reads the versions of a certificate as of a revision, 0 for now, newest first.
// The history of a certificate is short, so all are read at once.
func (s *Store) versions(ctx context.Context, projectID, certificateID string, at int64) (
	[]*lacre.Version, []*lacre.UnreadableError, error) {
	prefix, err := under("p", projectID, "version", certificateID)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", lacre.ErrNotStored, err)
	}
	var versions []*lacre.Version
	_, unreadable, err := records(ctx, s, prefix, at, func(v *lacre.Version) error {
		versions = append(versions, v)
		return nil
	})
	slices.Reverse(versions)
	return versions, unreadable, err
}
