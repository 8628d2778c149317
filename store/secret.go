package store

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// Secret returns what is stored under a name for the whole system, nil when nothing is.
// What is given must already be sealed: the store does not encrypt.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	key, err := join("sys", name)
	if err != nil {
		return nil, err
	}
	return s.blob(ctx, key)
}

// CreateSecret stores value under a name unless there is one already, and returns what
// is stored: of two that race, both get the winner's.
func (s *Store) CreateSecret(ctx context.Context, name string, value []byte) (winner []byte, err error) {
	key, err := join("sys", name)
	if err != nil {
		return nil, err
	}
	return s.createBlob(ctx, key, value)
}

// DataKey returns the wrapped data key of a project, nil when it has none yet.
func (s *Store) DataKey(ctx context.Context, projectID string) ([]byte, error) {
	key, err := join("p", projectID, "datakey")
	if err != nil {
		return nil, err
	}
	return s.blob(ctx, key)
}

// CreateDataKey is CreateSecret for the wrapped data key of a project.
func (s *Store) CreateDataKey(ctx context.Context, projectID string, value []byte) (winner []byte, err error) {
	key, err := join("p", projectID, "datakey")
	if err != nil {
		return nil, err
	}
	return s.createBlob(ctx, key, value)
}

// secrets returns the values of all secrets of the system as they are stored, by key.
func (s *Store) secrets(ctx context.Context) (map[string]string, error) {
	all := make(map[string]string)
	_, err := s.each(ctx, secrets, 0, func(kv *mvccpb.KeyValue) error {
		all[string(kv.Key)] = string(kv.Value)
		return nil
	})
	return all, err
}

func (s *Store) blob(ctx context.Context, key string) ([]byte, error) {
	value, _, err := s.blobAt(ctx, key)
	return value, err
}

// blobAt returns the revision beside an error that concerns this value alone.
func (s *Store) blobAt(ctx context.Context, key string) (value []byte, revision int64, err error) {
	found, err := s.get(ctx, key)
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", key, err)
	}
	if len(found.Kvs) == 0 {
		return nil, 0, nil
	}
	value, err = openBlob(key, found.Kvs[0].Value)
	return value, found.Kvs[0].ModRevision, err
}

// createBlob overwrites nothing, not even what is damaged: that may still be restored.
func (s *Store) createBlob(ctx context.Context, key string, value []byte) ([]byte, error) {
	resp, err := write(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, frame(key, value))).
			Else(clientv3.OpGet(key)).
			Commit()
	})
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", key, err)
	}
	if resp.Succeeded {
		return value, nil
	}
	return openBlob(key, resp.Responses[0].GetResponseRange().Kvs[0].Value)
}

// openBlob checks what is stored. The record of the error is nil: a secret is none.
func openBlob(key string, value []byte) ([]byte, error) {
	payload, err := unframe(key, value)
	if err != nil {
		return nil, &lacre.UnreadableError{Key: key, Err: err}
	}
	return payload, nil
}
