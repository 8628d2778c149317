package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// pageSize is how many values are asked for at once; 5,000 domains are about 2 MB.
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
	options = append(options, clientv3.WithLimit(pageSize))
	for p := pagesOf(prefix); ; {
		page, err := s.get(ctx, p.from, append(options, clientv3.WithRange(p.end()), clientv3.WithRev(at))...)
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
		if !p.next(page.Kvs, page.More) {
			return at, nil
		}
	}
}

// pages divides the keys with a prefix into ranges to read one after the other. etcd counts
// all of a range for each page that is read of it: what follows the first full page is
// therefore read in ranges of about a page. The wider of those hold the keys that begin
// with the same bytes, so that ids, names and numbers are all divided alike.
type pages struct {
	prefix, last string // what begins all keys, and where they end
	from         string // where the next page begins
	width        int    // how many bytes of from all keys of the next range begin with
}

func pagesOf(prefix string) pages {
	return pages{prefix: prefix, last: clientv3.GetPrefixRangeEnd(prefix), from: prefix, width: len(prefix)}
}

// end is where the next range ends. No prefix is all bytes of 255, so there always is one.
func (p *pages) end() string { return min(clientv3.GetPrefixRangeEnd(p.from[:p.width]), p.last) }

// next moves on behind a page, and tells whether there is anything left.
func (p *pages) next(page []*mvccpb.KeyValue, more bool) bool {
	if n := len(page); more && n > 0 {
		p.from = string(page[n-1].Key) + "\x00"
		p.width = common(string(page[0].Key), p.from) + 1
		return true
	}
	p.from = p.end()
	if len(page) < pageSize/16 { // ids have 16 digits
		p.width--
	}
	p.width = min(max(p.width, len(p.prefix)), len(p.from))
	return p.from < p.last
}

// common returns how many bytes two strings begin with that are the same.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
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
