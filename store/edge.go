package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

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
	certificate, at, err := oneAt(ctx, s, &lacre.Certificate{ProjectID: projectID, ID: certificateID}, 0)
	if bad, ok := errors.AsType[*lacre.UnreadableError](err); ok {
		return s.newestReadable(ctx, projectID, certificateID, at, bad)
	}
	if err != nil {
		return nil, nil, err
	}
	// Read at the certificate's revision: a modification in between cannot part the two.
	named := &lacre.Version{ProjectID: projectID, CertificateID: certificateID, Number: certificate.Version}
	v, _, err = oneAt(ctx, s, named, at)
	if bad, ok := errors.AsType[*lacre.UnreadableError](err); ok {
		return s.newestReadable(ctx, projectID, certificateID, at, bad)
	}
	return v, nil, err
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
