package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// An audit row is stored under 16 hexadecimal digits that count down with its time, so
// that the newest is first, and 16 random ones: rows of the same nanosecond, or written
// after the clock was set back, never overwrite each other. The ID counts up instead.
const auditRandom = 8 // bytes

var errNoAction = errors.New("the audit row names no action")

// auditOp makes the write of an audit row, at the store's clock when it has no time.
func (s *Store) auditOp(a lacre.Audit) (clientv3.Op, error) {
	if a.Action == "" {
		return clientv3.Op{}, errNoAction
	}
	if a.Time.IsZero() {
		a.Time = s.now()
	}
	suffix := make([]byte, auditRandom)
	if _, err := io.ReadFull(s.random, suffix); err != nil {
		return clientv3.Op{}, fmt.Errorf("drawing an audit id: %w", err)
	}
	prefix, err := auditPrefix(a.ProjectID)
	if err != nil {
		return clientv3.Op{}, err
	}
	payload, err := encoding.Marshal(auditShape{a.Time, a.Action, a.Resource, a.Detail,
		a.UserID, a.UserName, a.Source, a.RequestID})
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("encoding an audit row: %w", err)
	}
	key := prefix + auditKey(a.Time) + hex.EncodeToString(suffix)
	return clientv3.OpPut(key, frame(key, payload)), nil
}

// auditPrefix is where the rows of a project are, or those of no project.
func auditPrefix(projectID string) (string, error) {
	if projectID == "" {
		return iamAudits, nil
	}
	return under("p", projectID, "audit")
}

// auditKey is the part of an audit key that sorts, newest first.
func auditKey(t time.Time) string {
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-max(0, t.UnixNano())))
}

// auditID turns the sorting part of a key around.
func auditID(key string) (string, error) {
	var down uint64
	if len(key) != 16+2*auditRandom {
		return "", ErrBadIdentity
	}
	if _, err := fmt.Sscanf(key[:16], "%016x", &down); err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	return fmt.Sprintf("%016x%s", math.MaxInt64-down, key[16:]), nil
}

// Audits returns up to limit audit rows of a project, newest first; an empty project
// means the rows of users and projects. Unreadable rows are left out and logged.
func (s *Store) Audits(ctx context.Context, projectID string, limit int) ([]lacre.Audit, error) {
	prefix, err := auditPrefix(projectID)
	if err != nil || limit <= 0 {
		return nil, nil
	}
	found, err := s.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	audits := make([]lacre.Audit, 0, len(found.Kvs))
	for _, kv := range found.Kvs {
		a, err := decodeAudit(projectID, prefix, kv)
		if err != nil {
			s.log.ErrorContext(ctx, "a list leaves out an audit row", "key", string(kv.Key), "err", err)
			continue
		}
		audits = append(audits, a)
	}
	return audits, nil
}

// decodeAudit reads a row; its project and id come from where it is stored.
func decodeAudit(projectID, prefix string, kv *mvccpb.KeyValue) (lacre.Audit, error) {
	key := string(kv.Key)
	id, err := auditID(key[len(prefix):])
	if err != nil {
		return lacre.Audit{}, err
	}
	payload, err := unframe(key, kv.Value)
	if err != nil {
		return lacre.Audit{}, err
	}
	a := lacre.Audit{ID: id, ProjectID: projectID}
	err = read(payload, func(p auditShape) {
		a.Time, a.Action, a.Resource, a.Detail = p.Time, p.Action, p.Resource, p.Detail
		a.UserID, a.UserName, a.Source, a.RequestID = p.UserID, p.UserName, p.Source, p.RequestID
	})
	return a, err
}

// PruneAudits deletes the audit rows that are older than before, in every project (to the nanosecond).
// etcd deletes nothing by age itself: call it now and then.
func (s *Store) PruneAudits(ctx context.Context, before time.Time) error {
	_, ids, err := s.projectIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range append(ids, "") {
		prefix, err := auditPrefix(id)
		if err != nil {
			return err
		}
		if err := s.deleteRange(ctx, prefix+auditKey(before.Add(-1)), clientv3.GetPrefixRangeEnd(prefix)); err != nil {
			return fmt.Errorf("pruning %s: %w", prefix, err)
		}
	}
	return nil
}

// deleteRange deletes [from, to) in small steps: one step stalls every other write.
func (s *Store) deleteRange(ctx context.Context, from, to string) error {
	const step = 1000
	for {
		found, err := s.get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(step), clientv3.WithKeysOnly())
		if err != nil || len(found.Kvs) == 0 {
			return err
		}
		last := string(found.Kvs[len(found.Kvs)-1].Key) + "\x00"
		_, err = ask(ctx, s, func(ctx context.Context) (*clientv3.DeleteResponse, error) {
			return s.kv.Delete(ctx, from, clientv3.WithRange(last))
		})
		if err != nil {
			return err
		}
		from = last
	}
}
