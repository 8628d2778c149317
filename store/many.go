package store

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// entry is what was found where a record is stored: the record, or why there is none, which
// is lacre.ErrNotStored or *lacre.UnreadableError.
type entry struct {
	record lacre.Record
	err    error
}

// manyAt reads records in one transaction as they were at a revision, 0 for now, and
// returns the revision that was read. One that is nil is not stored. There may be no more
// of them than one transaction takes.
func (s *Store) manyAt(ctx context.Context, wanted []lacre.Record, at int64) ([]entry, int64, error) {
	options := []clientv3.OpOption{clientv3.WithRev(at)}
	if s.alone {
		options = append(options, clientv3.WithSerializable())
	}
	entries := make([]entry, len(wanted))
	var gets []clientv3.Op
	var places []int // of the gets among the entries
	for i, want := range wanted {
		entries[i].err = lacre.ErrNotStored
		if want == nil {
			continue
		}
		if key, err := keyOf(want); err == nil { // what can have no key is not stored
			gets, places = append(gets, clientv3.OpGet(key, options...)), append(places, i)
		}
	}
	if len(gets) == 0 {
		return entries, at, nil
	}
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).Then(gets...).Commit()
	})
	if err != nil {
		return nil, at, err
	}
	for i, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			entries[places[i]] = decodeEntry(kv)
		}
	}
	return entries, resp.Header.Revision, nil
}

func decodeEntry(kv *mvccpb.KeyValue) entry {
	record, unreadable := decode(kv)
	if unreadable != nil { // a nil *UnreadableError would be an error that is not nil
		return entry{err: unreadable}
	}
	return entry{record: record}
}
