package lacre

import (
	"context"
	"errors"
)

// The quotas are exact under any concurrency, on any number of nodes: what is counted is
// added in a transaction that also moves a record which every other addition moves, so
// that of two additions that counted the same number one counts again.

// roomForInstance refuses an instance above the project's quota. The records it returns
// have to be put together with the instance.
func (s *Service) roomForInstance(ctx context.Context, projectID string) ([]Record, error) {
	guard, err := s.projectRecord(ctx, projectID)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Instances(ctx, projectID)
	if err != nil {
		return nil, storeError(err)
	}
	if len(all) >= s.InstancesPerProject {
		return nil, Errorf(CodeQuota, "a project has at most %d instances", s.InstancesPerProject)
	}
	return guard, nil
}

// roomForCertificate is the same for a certificate. Without a quota nothing is counted
// and nothing moved.
func (s *Service) roomForCertificate(ctx context.Context, projectID string) ([]Record, error) {
	if s.CertificatesPerProject <= 0 {
		return nil, nil
	}
	guard, err := s.projectRecord(ctx, projectID)
	if err != nil {
		return nil, err
	}
	n, err := s.Store.CountCertificates(ctx, projectID)
	if err != nil {
		return nil, storeError(err)
	}
	if n >= s.CertificatesPerProject {
		return nil, Errorf(CodeQuota, "a project has at most %d certificates", s.CertificatesPerProject)
	}
	return guard, nil
}

// certificateTurn is whose turn the addition of a certificate waits for: that of its
// project when all additions to it move one record.
func (s *Service) certificateTurn(c *Certificate) string {
	if s.CertificatesPerProject > 0 {
		return c.ProjectID
	}
	return c.ID
}

// projectRecord is the record that additions to a project move. A project that IAM does
// not keep has none: then the count is all there is.
func (s *Service) projectRecord(ctx context.Context, projectID string) ([]Record, error) {
	project, err := s.Store.Project(ctx, projectID)
	if errors.Is(err, ErrNotStored) {
		return nil, nil
	}
	return []Record{project}, storeError(err)
}

// roomForGroup refuses a group above the quota of its instance. Without a quota the
// instance is only guarded, so that any number of groups are added side by side.
func (s *Service) roomForGroup(ctx context.Context, in *Instance, tx *Tx) error {
	if s.GroupsPerInstance < 0 {
		tx.Check = append(tx.Check, in)
		return nil
	}
	groups, err := s.Store.Groups(ctx, in.ProjectID, in.ID)
	if err != nil {
		return storeError(err)
	}
	if len(groups) >= s.GroupsPerInstance {
		return Errorf(CodeGroupQuota, "an instance has at most %d API groups", s.GroupsPerInstance)
	}
	tx.Put = append(tx.Put, in)
	return nil
}
