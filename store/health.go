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

const healthPatience = 2 * time.Second

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
		if outOfSpace(status) {
			return fmt.Errorf("%w: the store is full: %d of %d bytes; give it a larger quota",
				lacre.ErrUnavailable, status.DbSize, status.DbSizeQuota)
		}
		return fmt.Errorf("%w: etcd reports %s", lacre.ErrUnavailable, strings.Join(status.Errors, "; "))
	}
	if err := s.engine.room(); err != nil {
		return fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
	}
	return nil
}

// outOfSpace tells whether the database has reached its quota.
func outOfSpace(status *clientv3.StatusResponse) bool {
	return slices.ContainsFunc(status.Errors, func(problem string) bool { return strings.Contains(problem, "NOSPACE") })
}
