package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd keeps every key in memory, and audit rows are most of what a store holds after a
// while. Rows of days that are over therefore become packs: many rows in one value, at the
// key of the newest, so that packs and rows have one order and are pruned alike.
const (
	packRows  = 500       // rows in a pack
	packBytes = 256 << 10 // of their payloads, before they are compressed
	packRest  = 3         // times what making one took is rested afterwards
)

// auditRun are rows of one UTC day that are stored one after the other.
type auditRun struct {
	rows  []auditRow
	bytes int
	day   time.Time
	first int64 // the revision of the newest row
}

// takes tells whether a row can be the run's next.
func (r *auditRun) takes(row auditRow, day time.Time) bool {
	return len(r.rows) < packRows && r.bytes+len(row.payload) <= packBytes && day.Equal(r.day)
}

func (r *auditRun) add(row auditRow) {
	r.rows, r.bytes = append(r.rows, row), r.bytes+len(row.payload)
}

// PackAudits makes few values of the many rows of UTC days that ended an hour ago or earlier by
// the store's clock, in every project. Days that ended before since are passed by; the zero time
// leaves out none. Rows stay as they were to whoever reads them. What was in its way (a damaged row, a
// change meanwhile) is left as it is: call it now and then, with some overlap.
func (s *Store) PackAudits(ctx context.Context, since time.Time) error {
	until := s.now().Add(-packedAfter)
	prefixes, err := s.auditPrefixes(ctx)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		from, to := prefix+auditKey(until.Truncate(day).Add(-1)), clientv3.GetPrefixRangeEnd(prefix)
		if !since.IsZero() {
			to = prefix + auditKey(since.Truncate(day).Add(-1))
		}
		if err := s.packRange(ctx, prefix, from, to); err != nil {
			return fmt.Errorf("packing %s: %w", prefix, err)
		}
	}
	return nil
}

// packRange packs [from, to) of a project in small steps: one step stalls every other write.
func (s *Store) packRange(ctx context.Context, prefix, from, to string) error {
	for from < to {
		w := auditWalk{store: s, prefix: prefix, from: from, to: to}
		run, next, err := w.run(ctx)
		if err != nil {
			return err
		}
		if from = next; len(run.rows) < 2 {
			continue
		}
		begun := time.Now()
		if err := s.packRun(ctx, prefix, run, w.at); err != nil {
			return err
		}
		sleep(ctx, packRest*time.Since(begun))
	}
	return nil
}

// run returns the next run that is worth packing, and where to look for the one after it.
func (w *auditWalk) run(ctx context.Context) (run auditRun, next string, err error) {
	for kv, err := range w.values(ctx) {
		if err != nil {
			return run, "", err
		}
		row, err := w.packable(kv)
		t, _ := auditTime(row.digits)
		day := t.Truncate(day)
		switch {
		case err == nil && run.takes(row, day):
			run.add(row)
		case len(run.rows) >= 2:
			return run, string(kv.Key), nil
		case err == nil:
			run = auditRun{day: day, first: kv.ModRevision}
			run.add(row)
		default:
			run = auditRun{}
		}
	}
	return run, w.to, nil
}

// packable is the row that has a value to itself, and can be read.
func (w *auditWalk) packable(kv *mvccpb.KeyValue) (auditRow, error) {
	row, err := singleRow(w.prefix, kv)
	if err == nil {
		_, err = row.audit("")
	}
	return row, err
}

// packRun puts a run, read at a revision, into one value. It does nothing if a key of its
// range was written since, or the first one is gone: then a row has come late that would be
// deleted with the others, or another node has packed some of them. Keys that are gone without
// either were pruned, and their rows are there for another day.
func (s *Store) packRun(ctx context.Context, prefix string, run auditRun, at int64) error {
	newest, end := prefix+run.rows[0].digits, prefix+run.rows[len(run.rows)-1].digits+"\x00"
	value, err := packed(newest, run.rows)
	if err != nil {
		return err
	}
	_, err = write(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(newest), "=", run.first),
			clientv3.Compare(clientv3.ModRevision(newest), "<", at+1).WithRange(end),
		).Then(
			clientv3.OpDelete(newest+"\x00", clientv3.WithRange(end)),
			clientv3.OpPut(newest, value),
		).Commit()
	})
	return err
}
