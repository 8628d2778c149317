package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// pageSize is how many values are asked for at once. etcd counts the rest of the range
// for every page, so small pages make a long list slow; 5,000 domains are about 2 MB.
const pageSize = 5000

// one reads the record that want identifies. Identifying fields that can have no key
// belong to no record.
func one[T lacre.Record](ctx context.Context, s *Store, want T) (T, error) {
	record, _, err := oneAt(ctx, s, want, 0)
	return record, err
}

// oneAt reads a record as it was at a revision, 0 for now, and returns the revision that
// was read.
func oneAt[T lacre.Record](ctx context.Context, s *Store, want T, at int64) (T, int64, error) {
	var none T
	key, err := keyOf(want)
	if err != nil {
		return none, 0, fmt.Errorf("%w: %w", lacre.ErrNotStored, err)
	}
	found, err := s.get(ctx, key, clientv3.WithRev(at))
	if err != nil {
		return none, 0, fmt.Errorf("reading %s: %w", key, err)
	}
	if len(found.Kvs) == 0 {
		return none, found.Header.Revision, fmt.Errorf("%s: %w", key, lacre.ErrNotStored)
	}
	record, unreadable := decode(found.Kvs[0])
	if unreadable != nil {
		return none, found.Header.Revision, unreadable
	}
	return record.(T), found.Header.Revision, nil // the key decides the type
}

// each visits everything whose key starts with prefix, in the order of keys, as of one
// revision, which it returns. at is that revision, 0 for now.
func (s *Store) each(ctx context.Context, prefix string, at int64, visit func(*mvccpb.KeyValue) error,
	options ...clientv3.OpOption) (int64, error) {
	options = append(options, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(pageSize))
	for from := prefix; ; {
		page, err := s.get(ctx, from, append(options, clientv3.WithRev(at))...)
		if err != nil {
			return at, fmt.Errorf("listing %s: %w", prefix, err)
		}
		if at == 0 {
			at = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			if err := visit(kv); err != nil {
				return at, err
			}
		}
		if !page.More || len(page.Kvs) == 0 {
			return at, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// records visits the readable records of type T under prefix and returns the others.
// A key that is nobody's is logged and passed by.
func records[T lacre.Record](ctx context.Context, s *Store, prefix string, at int64, visit func(T) error) (
	revision int64, unreadable []*lacre.UnreadableError, err error) {
	revision, err = s.each(ctx, prefix, at, func(kv *mvccpb.KeyValue) error {
		record, bad := decode(kv)
		if bad != nil && bad.Record == nil {
			s.log.WarnContext(ctx, "a foreign key is in the store", "key", bad.Key)
			return nil
		}
		if bad != nil {
			unreadable = append(unreadable, bad)
			return nil
		}
		if r, ok := record.(T); ok {
			return visit(r)
		}
		return nil
	})
	return revision, unreadable, err
}

// list returns the readable records of type T below the given segments that keep
// accepts, nil for all. Unreadable ones are left out and logged.
func list[T lacre.Record](ctx context.Context, s *Store, keep func(T) bool, segments ...string) ([]T, error) {
	prefix, err := under(segments...)
	if errors.Is(err, ErrBadIdentity) {
		return nil, nil // nothing can be stored there
	}
	if err != nil {
		return nil, err
	}
	var all []T
	_, unreadable, err := records(ctx, s, prefix, 0, func(r T) error {
		if keep == nil || keep(r) {
			all = append(all, r)
		}
		return nil
	})
	for _, bad := range unreadable {
		s.log.ErrorContext(ctx, "a list leaves out a record", "err", bad)
	}
	return all, err
}
