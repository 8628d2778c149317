package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// newCopyStore is a Store that reads from the copy what an edge and a keyring ask for. It
// answers as the store at the revision of the copy would; everything else is an error.
// broken is told when the file turns out to be damaged.
func newCopyStore(f *copyFile, log *slog.Logger, broken func(error)) *Store {
	s := newStore(log, nil, nil)
	s.kv, s.engine = &copyKV{file: f, broken: broken}, copyEngine{}
	s.maxOps, s.alone = embeddedMaxOps, true
	s.close = func() error { return nil }
	return s
}

var errReadOnly = fmt.Errorf("%w: it is still being opened", lacre.ErrUnavailable)

// copyEngine is the engine of a Store that only reads.
type copyEngine struct{}

func (copyEngine) room() error  { return errReadOnly }
func (copyEngine) close() error { return nil }
func (copyEngine) status(context.Context) (*clientv3.StatusResponse, error) {
	return nil, errReadOnly
}
func (copyEngine) snapshot(context.Context) (io.ReadCloser, error) { return nil, errReadOnly }

// copyKV reads a copy in the language of etcd: gets of one key or of a range of keys of one
// kind, alone or many in one transaction.
type copyKV struct {
	file   *copyFile
	broken func(error)
}

var _ clientv3.KV = (*copyKV)(nil)

// Get implements clientv3.KV.
func (c *copyKV) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var resp *etcdserverpb.RangeResponse
	err := c.view(func(tx *bolt.Tx) error {
		resp = c.read(tx, clientv3.OpGet(key, opts...))
		return nil
	})
	return (*clientv3.GetResponse)(resp), err
}

// view reads in one transaction. What stands in the way of that is damage.
func (c *copyKV) view(read func(*bolt.Tx) error) error {
	err := c.file.view(read)
	if err != nil {
		c.broken(err)
		return fmt.Errorf("reading the copy: %w", err)
	}
	return nil
}

func (c *copyKV) header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{Revision: c.file.state.Revision}
}

// read makes one get. What it returns does not outlive the transaction in bbolt: it is copied.
func (c *copyKV) read(tx *bolt.Tx, op clientv3.Op) *etcdserverpb.RangeResponse {
	resp := &etcdserverpb.RangeResponse{Header: c.header()}
	key := op.KeyBytes()
	bucket := tx.Bucket([]byte(bucketFor(string(key))))
	if bucket == nil || op.IsCountOnly() {
		return resp // only the revision is asked for, or what a copy does not have
	}
	if op.RangeBytes() == nil {
		if v := bucket.Get(key); v != nil {
			resp.Kvs = append(resp.Kvs, copied(key, v, op.IsKeysOnly()))
		}
		return resp
	}
	cursor := bucket.Cursor()
	for k, v := cursor.Seek(key); k != nil && string(k) < string(op.RangeBytes()); k, v = cursor.Next() {
		if limit := op.Limit(); limit > 0 && int64(len(resp.Kvs)) == limit {
			resp.More = true
			break
		}
		resp.Kvs = append(resp.Kvs, copied(k, v, op.IsKeysOnly()))
	}
	return resp
}

// copied makes a KeyValue of what is stored. A value that is too short for its revision is
// left to decode, which says so.
func copied(k, v []byte, keysOnly bool) *mvccpb.KeyValue {
	kv := &mvccpb.KeyValue{}
	if len(v) < revisionSize {
		kv.Key = append(kv.Key, k...)
		return kv
	}
	kv.ModRevision = int64(binary.BigEndian.Uint64(v))
	if v = v[revisionSize:]; keysOnly {
		v = nil
	}
	both := append(append(make([]byte, 0, len(k)+len(v)), k...), v...)
	kv.Key, kv.Value = both[:len(k):len(k)], both[len(k):]
	return kv
}

// Txn implements clientv3.KV.
func (c *copyKV) Txn(context.Context) clientv3.Txn { return &copyTxn{kv: c} }

// copyTxn is many gets at once.
type copyTxn struct {
	kv   *copyKV
	gets []clientv3.Op
}

// If implements clientv3.Txn. Whoever reads has no conditions.
func (t *copyTxn) If(...clientv3.Cmp) clientv3.Txn { return t }

// Then implements clientv3.Txn.
func (t *copyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.gets = append(t.gets, ops...)
	return t
}

// Else implements clientv3.Txn.
func (t *copyTxn) Else(...clientv3.Op) clientv3.Txn { return t }

// Commit implements clientv3.Txn.
func (t *copyTxn) Commit() (*clientv3.TxnResponse, error) {
	resp := &etcdserverpb.TxnResponse{Header: t.kv.header(), Succeeded: true}
	err := t.kv.view(func(tx *bolt.Tx) error {
		for _, op := range t.gets {
			if !op.IsGet() {
				return errReadOnly
			}
			one := &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: t.kv.read(tx, op)}
			resp.Responses = append(resp.Responses, &etcdserverpb.ResponseOp{Response: one})
		}
		return nil
	})
	return (*clientv3.TxnResponse)(resp), err
}

// The rest of clientv3.KV is not a copy's.

// Put implements clientv3.KV.
func (c *copyKV) Put(context.Context, string, string, ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	return nil, errReadOnly
}

// Delete implements clientv3.KV.
func (c *copyKV) Delete(context.Context, string, ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	return nil, errReadOnly
}

// Compact implements clientv3.KV.
func (c *copyKV) Compact(context.Context, int64, ...clientv3.CompactOption) (*clientv3.CompactResponse, error) {
	return nil, errReadOnly
}

// Do implements clientv3.KV.
func (c *copyKV) Do(context.Context, clientv3.Op) (clientv3.OpResponse, error) {
	return clientv3.OpResponse{}, errReadOnly
}

// GetStream implements clientv3.KV.
func (c *copyKV) GetStream(context.Context, string, ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	return nil, errReadOnly
}
