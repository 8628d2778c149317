package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const reclaimPatience = 10 * time.Minute // 8 GiB on a slow disk

// reclaim lets a store that has reached its quota take writes again: history is dropped,
// the space is given back to the file system, and the alarm goes. When there is still no
// room, etcd raises it again at the next write. Any other store is left as it is. Nobody
// is answered meanwhile, about a second for each gigabyte.
func (s *Store) reclaim(ctx context.Context, e *embedded) error {
	status, err := e.status(ctx)
	if err != nil || !outOfSpace(status) {
		return err
	}
	s.log.Warn("the store was full; its history is dropped to make room", "bytes", status.DbSize, "quota", status.DbSizeQuota)
	ctx, cancel := context.WithTimeout(ctx, reclaimPatience)
	defer cancel()
	// WithCompactPhysical waits until the space is free, else nothing is gained below.
	_, err = s.kv.Compact(ctx, status.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("dropping history: %w", err)
	}
	if err := e.defragment(status.DbSize); err != nil {
		s.log.Warn("the file of the store could not be made smaller", "err", err)
	}
	_, err = e.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}) // all of them
	return err
}

// defragment writes the database anew without its free pages, if the disk has room for as
// much again. It goes to the backend itself: etcd's service for it wants a listener's
// health state, which an engine without listeners does not have. It cannot be called off.
func (e *embedded) defragment(size int64) error {
	if err := e.dir.room(e.reserve + uint64(size)); err != nil {
		return err
	}
	return e.etcd.Server.Backend().Defrag()
}
