package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// An audit row is stored under 16 hexadecimal digits that count down with its time, so
// that the newest is first, and 16 random ones: rows of the same nanosecond, or written
// after the clock was set back, never overwrite each other. The ID counts up instead, see turned.
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
		a.UserID, a.UserName, a.Source, a.RequestID, a.AccountID})
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

// auditPrefixes are those of every project, and that of none.
func (s *Store) auditPrefixes(ctx context.Context) ([]string, error) {
	_, ids, err := s.projectIDs(ctx)
	if err != nil {
		return nil, err
	}
	prefixes := []string{iamAudits}
	for _, id := range ids {
		prefix, err := auditPrefix(id)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

// auditKey is the part of an audit key that sorts, newest first.
func auditKey(t time.Time) string {
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-max(0, t.UnixNano())))
}

// turned makes the ID of a row from the sorting part of its key, and the other way round:
// all digits are complemented, so that IDs sort exactly against their keys.
func turned(digits string) (string, error) {
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 8+auditRandom || raw[0] > 0x7f || hex.EncodeToString(raw) != digits {
		return "", fmt.Errorf("%w: %q is no audit id", ErrBadIdentity, digits)
	}
	for i := range raw {
		raw[i] = ^raw[i]
	}
	raw[0] &= 0x7f // times are positive
	return hex.EncodeToString(raw), nil
}

// PruneAudits deletes the audit rows that are older than before, in every project: to the
// nanosecond, and those that are packed by the newest of their pack, which is of the same day.
// etcd deletes nothing by age itself: call it now and then.
func (s *Store) PruneAudits(ctx context.Context, before time.Time) error {
	prefixes, err := s.auditPrefixes(ctx)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
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
