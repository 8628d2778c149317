package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

const (
	healthPatience  = 2 * time.Second
	reclaimPatience = 10 * time.Minute // 8 GiB on a slow disk
)

// Stats are the figures an operator watches.
type Stats struct {
	DBBytes    int64 // size of the database file
	InUseBytes int64 // what of it is not free for reuse
	QuotaBytes int64 // writes are refused when DBBytes gets there; 0 when not known
	Revision   int64
}

// Stats asks the engine for its figures, without a round through the quorum.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	status, err := ask(ctx, s, s.engine.status)
	if err != nil {
		return Stats{}, fmt.Errorf("asking for the store's status: %w", err)
	}
	return Stats{DBBytes: status.DbSize, InUseBytes: status.DbSizeInUse,
		QuotaBytes: status.DbSizeQuota, Revision: status.Header.Revision}, nil
}

// Health returns nil when the store answers a linearizable read within two seconds and
// takes writes. The error says what is wrong.
func (s *Store) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	if _, err := s.revision(ctx); err != nil {
		return err
	}
	status, err := ask(ctx, s, s.engine.status)
	if err != nil {
		return fmt.Errorf("asking for the store's status: %w", err)
	}
	if len(status.Errors) > 0 {
		if slices.ContainsFunc(status.Errors, outOfSpace) {
			return fmt.Errorf("%w: the store is full: %d of %d bytes; delete, then reclaim",
				lacre.ErrUnavailable, status.DbSize, status.DbSizeQuota)
		}
		return fmt.Errorf("%w: etcd reports %s", lacre.ErrUnavailable, strings.Join(status.Errors, "; "))
	}
	if err := s.engine.room(); err != nil {
		return fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
	}
	return nil
}

func outOfSpace(problem string) bool { return strings.Contains(problem, "NOSPACE") }

// Reclaim drops history, gives the space back to the file system and lets a full store
// take writes again. The engine answers nobody meanwhile (about a second for each
// gigabyte), and watchers that lag are told lacre.ErrCompacted: run it on purpose.
func (s *Store) Reclaim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reclaimPatience)
	defer cancel()
	revision, err := s.revision(ctx)
	if err != nil {
		return err
	}
	_, err = ask(ctx, s, func(ctx context.Context) (struct{}, error) {
		// WithCompactPhysical waits until the space is free, else nothing is gained below.
		if _, err := s.kv.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
			return struct{}{}, err
		}
		if err := s.engine.defragment(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.engine.disarm(ctx)
	})
	if err != nil {
		return fmt.Errorf("reclaiming space: %w", err)
	}
	return nil
}
