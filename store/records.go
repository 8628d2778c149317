package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// Project implements lacre.Store.
func (s *Store) Project(ctx context.Context, id string) (*lacre.Project, error) {
	return one(ctx, s, &lacre.Project{ID: id})
}

// Instance implements lacre.Store.
func (s *Store) Instance(ctx context.Context, projectID, id string) (*lacre.Instance, error) {
	return one(ctx, s, &lacre.Instance{ProjectID: projectID, ID: id})
}

// Instances implements lacre.Store.
func (s *Store) Instances(ctx context.Context, projectID string) ([]*lacre.Instance, error) {
	return list[*lacre.Instance](ctx, s, nil, "p", projectID, "instance")
}

// Group implements lacre.Store.
func (s *Store) Group(ctx context.Context, projectID, id string) (*lacre.Group, error) {
	return one(ctx, s, &lacre.Group{ProjectID: projectID, ID: id})
}

// Groups implements lacre.Store. It reads the groups of all instances of the project.
func (s *Store) Groups(ctx context.Context, projectID, instanceID string) ([]*lacre.Group, error) {
	ours := func(g *lacre.Group) bool { return g.InstanceID == instanceID }
	return list(ctx, s, ours, "p", projectID, "group")
}

// Domain implements lacre.Store.
func (s *Store) Domain(ctx context.Context, projectID, id string) (*lacre.Domain, error) {
	return one(ctx, s, &lacre.Domain{ProjectID: projectID, ID: id})
}

// Domains implements lacre.Store. Up to the operations limit of one transaction, the
// answer is of one revision.
func (s *Store) Domains(ctx context.Context, projectID string, ids []string) ([]*lacre.Domain, error) {
	domains := make([]*lacre.Domain, 0, len(ids))
	var gets []clientv3.Op
	for i, id := range ids {
		if key, err := keyOf(&lacre.Domain{ProjectID: projectID, ID: id}); err == nil {
			gets = append(gets, clientv3.OpGet(key))
		}
		if len(gets) == 0 || len(gets) < s.maxOps && i < len(ids)-1 {
			continue
		}
		found, err := s.domains(ctx, gets)
		if err != nil {
			return nil, fmt.Errorf("reading domains of project %s: %w", projectID, err)
		}
		domains, gets = append(domains, found...), nil
	}
	return domains, nil
}

// domains makes many reads in one transaction.
func (s *Store) domains(ctx context.Context, gets []clientv3.Op) ([]*lacre.Domain, error) {
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).Then(gets...).Commit()
	})
	if err != nil {
		return nil, err
	}
	var domains []*lacre.Domain
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			record, unreadable := decode(kv)
			if unreadable != nil {
				s.log.ErrorContext(ctx, "a list leaves out a record", "err", unreadable)
				continue
			}
			domains = append(domains, record.(*lacre.Domain))
		}
	}
	return domains, nil
}

// Host implements lacre.Store.
func (s *Store) Host(ctx context.Context, projectID, instanceID, host string) (*lacre.Host, error) {
	return one(ctx, s, &lacre.Host{ProjectID: projectID, InstanceID: instanceID, Host: host})
}

// Certificate implements lacre.Store.
func (s *Store) Certificate(ctx context.Context, projectID, id string) (*lacre.Certificate, error) {
	return one(ctx, s, &lacre.Certificate{ProjectID: projectID, ID: id})
}

// Certificates implements lacre.Store; they come in the order of their ids.
func (s *Store) Certificates(ctx context.Context, projectID string) ([]*lacre.Certificate, error) {
	return list[*lacre.Certificate](ctx, s, nil, "p", projectID, "cert")
}

// CountCertificates implements lacre.Store.
func (s *Store) CountCertificates(ctx context.Context, projectID string) (int, error) {
	prefix, err := under("p", projectID, "cert")
	if errors.Is(err, ErrBadIdentity) {
		return 0, nil // nothing can be stored there
	}
	if err != nil {
		return 0, err
	}
	found, err := s.get(ctx, prefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("counting %s: %w", prefix, err)
	}
	return int(found.Count), nil
}

// CertificateName implements lacre.Store.
func (s *Store) CertificateName(ctx context.Context, projectID, instanceID, name string) (*lacre.CertificateName, error) {
	return one(ctx, s, &lacre.CertificateName{ProjectID: projectID, InstanceID: instanceID, Name: name})
}

// Version implements lacre.Store.
func (s *Store) Version(ctx context.Context, projectID, certificateID string, number int) (*lacre.Version, error) {
	return one(ctx, s, &lacre.Version{ProjectID: projectID, CertificateID: certificateID, Number: number})
}

// Revocations implements lacre.Store.
func (s *Store) Revocations(ctx context.Context, projectID, certificateID string) (*lacre.Revocations, error) {
	return one(ctx, s, &lacre.Revocations{ProjectID: projectID, CertificateID: certificateID})
}

// Bound implements lacre.Store; the bindings come in the order of their domain ids.
func (s *Store) Bound(ctx context.Context, projectID, certificateID string) ([]*lacre.Bound, error) {
	return list[*lacre.Bound](ctx, s, nil, "p", projectID, "bound", certificateID)
}
