package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// AllInstances returns the instances of all projects, their identifying fields only. They
// are found by key alone, so that a damaged record hides nothing.
func (s *Store) AllInstances(ctx context.Context) ([]*lacre.Instance, error) {
	_, ids, err := s.projectIDs(ctx)
	if err != nil {
		return nil, err
	}
	var all []*lacre.Instance
	for _, id := range ids {
		prefix, err := under("p", id, "instance")
		if err != nil {
			return nil, err
		}
		_, err = s.each(ctx, prefix, 0, func(kv *mvccpb.KeyValue) error {
			if i, ok := identify(string(kv.Key)).(*lacre.Instance); ok {
				all = append(all, i)
			}
			return nil
		}, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// HostDomains returns the domains that claim one of the canonical hosts in one of the
// instances. It costs two reads for each pair of these, however many domains there are: a
// host is claimed under a key of its own, but in each instance. What is damaged is left out.
func (s *Store) HostDomains(ctx context.Context, instances []*lacre.Instance, hosts ...string) ([]*lacre.Domain, error) {
	var claims []lacre.Record
	for _, i := range instances {
		for _, host := range hosts {
			claims = append(claims, &lacre.Host{ProjectID: i.ProjectID, InstanceID: i.ID, Host: host})
		}
	}
	var domains []*lacre.Domain
	for some := range slices.Chunk(claims, s.maxOps) {
		found, err := s.claimed(ctx, some)
		if err != nil {
			return nil, fmt.Errorf("looking for the domains of a host: %w", err)
		}
		domains = append(domains, found...)
	}
	return domains, nil
}

// claimed returns the domains that the host claims name, as of one revision.
func (s *Store) claimed(ctx context.Context, claims []lacre.Record) ([]*lacre.Domain, error) {
	hosts, at, err := s.manyAt(ctx, claims, 0)
	if err != nil {
		return nil, err
	}
	var named []lacre.Record
	for _, h := range hosts {
		if h.err == nil {
			claim := h.record.(*lacre.Host)
			named = append(named, &lacre.Domain{ProjectID: claim.ProjectID, ID: claim.DomainID})
		}
		s.leftOut(ctx, h)
	}
	found, _, err := s.manyAt(ctx, named, at)
	if err != nil {
		return nil, err
	}
	var domains []*lacre.Domain
	for _, d := range found {
		if d.err == nil {
			domains = append(domains, d.record.(*lacre.Domain))
		}
		s.leftOut(ctx, d)
	}
	return domains, nil
}

// leftOut logs damage that a list leaves out.
func (s *Store) leftOut(ctx context.Context, e entry) {
	if bad, ok := errors.AsType[*lacre.UnreadableError](e.err); ok {
		s.log.ErrorContext(ctx, "a list leaves out a record", "err", bad)
	}
}
