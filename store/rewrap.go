package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// SecretNames returns the names of all secrets.
func (s *Store) SecretNames(ctx context.Context) (names []string, err error) {
	_, err = s.each(ctx, secrets, 0, func(kv *mvccpb.KeyValue) error {
		if parts, ok := split(string(kv.Key)); ok && len(parts) == 2 {
			names = append(names, parts[1])
		}
		return nil
	}, clientv3.WithKeysOnly())
	return names, err
}

// Sealers returns the ids of all that may have a data key, in the order of keys: the
// projects, and what else has something where projects have it, with a record or not. It
// makes one small request for each: the gaps between those that are known are empty.
func (s *Store) Sealers(ctx context.Context) (ids []string, err error) {
	_, known, err := s.projectIDs(ctx)
	if err != nil {
		return nil, err
	}
	byPrefix := make(map[string]string)
	for _, id := range known {
		prefix, err := under("p", id)
		if err != nil {
			return nil, err
		}
		byPrefix[prefix] = id
	}
	from := tenants
	for _, prefix := range slices.Sorted(maps.Keys(byPrefix)) {
		strays, err := s.sealersBetween(ctx, from, prefix)
		if err != nil {
			return nil, err
		}
		ids = append(append(ids, strays...), byPrefix[prefix])
		from = clientv3.GetPrefixRangeEnd(prefix)
	}
	strays, err := s.sealersBetween(ctx, from, clientv3.GetPrefixRangeEnd(tenants))
	return append(ids, strays...), err
}

// sealersBetween finds those that have a key from one key up to another.
func (s *Store) sealersBetween(ctx context.Context, from, to string) (ids []string, err error) {
	for from < to {
		found, err := s.get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", tenants, err)
		}
		if len(found.Kvs) == 0 {
			break
		}
		key := string(found.Kvs[0].Key)
		from = key + "\x00"
		if parts, ok := split(key); ok && len(parts) > 2 {
			prefix, err := under("p", parts[1])
			if err != nil {
				return nil, err
			}
			ids, from = append(ids, parts[1]), clientv3.GetPrefixRangeEnd(prefix)
		}
	}
	return ids, nil
}

// SecretAt is Secret with the revision of what is stored, 0 when nothing is. It is there
// beside the error of a value that is damaged, and 0 beside any other.
func (s *Store) SecretAt(ctx context.Context, name string) (value []byte, revision int64, err error) {
	key, err := join("sys", name)
	if err != nil {
		return nil, 0, err
	}
	return s.blobAt(ctx, key)
}

// DataKeyAt is SecretAt for the wrapped data key of a project.
func (s *Store) DataKeyAt(ctx context.Context, projectID string) (value []byte, revision int64, err error) {
	key, err := join("p", projectID, "datakey")
	if err != nil {
		return nil, 0, err
	}
	return s.blobAt(ctx, key)
}

// ReplaceSecret stores value in the place of the one with that revision (not 0), while the
// secret called guard has the revision at. Otherwise it returns false and changes nothing.
// After an error it may have happened or not.
func (s *Store) ReplaceSecret(ctx context.Context, name string, revision int64, value []byte, guard string, at int64) (bool, error) {
	key, err := join("sys", name)
	if err != nil {
		return false, err
	}
	return s.replaceBlob(ctx, key, revision, value, guard, at)
}

// ReplaceDataKey is ReplaceSecret for the wrapped data key of a project.
func (s *Store) ReplaceDataKey(ctx context.Context, projectID string, revision int64, value []byte, guard string, at int64) (bool, error) {
	key, err := join("p", projectID, "datakey")
	if err != nil {
		return false, err
	}
	return s.replaceBlob(ctx, key, revision, value, guard, at)
}

func (s *Store) replaceBlob(ctx context.Context, key string, revision int64, value []byte, guard string, at int64) (bool, error) {
	guarding, err := join("sys", guard)
	if err != nil {
		return false, err
	}
	resp, err := write(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision), clientv3.Compare(clientv3.ModRevision(guarding), "=", at)).
			Then(clientv3.OpPut(key, frame(key, value))).
			Commit()
	})
	if err != nil {
		return false, fmt.Errorf("replacing %s: %w", key, err)
	}
	return resp.Succeeded, nil
}
