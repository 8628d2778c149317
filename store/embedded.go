package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// Figures of the embedded engine.
const (
	// embeddedMaxOps is etcd's --max-txn-ops: one certificate moving 200 domains is 800.
	embeddedMaxOps = 1024
	// defaultQuota is the largest database etcd's authors recommend.
	defaultQuota = 8 << 30
	// defaultReserve keeps room for etcd's next two write-ahead segments of 64 MB and for
	// the database to grow by a few steps of 16 MB: running into a full disk is fatal to
	// etcd, so writes stop before.
	defaultReserve = 256 << 20
	// history is how many revisions watchers and long reads can go back at least: etcd
	// looks every five minutes, so it is five minutes' worth of changes more. It costs 6 KB
	// of disk for a modification, 60 MB, and a place in memory for every old key: with ten
	// changes a second, what this takes stops growing after some twenty minutes (audit rows
	// stay, see PackAudits). Who reads longer than it reaches begins again, and then has five
	// minutes.
	history = "10000"
	// The raft log is kept in memory until snapshotted. There are no followers that could
	// need old entries, so a short one does.
	snapshotCount  = 2000
	catchUpEntries = 100
	// A start reads all segments of the log that are kept, of 64 MB each. Those since the
	// last snapshot always are; one more normally lets a start go back to the snapshot before.
	logSegments = 2
	// How often a watcher is told how far the store is although nothing changes for it. An
	// edge that hears nothing for a minute counts as cut off (docs/operate.md).
	progress = 5 * time.Second
)

// EmbeddedConfig describes an embedded store. Only Dir is mandatory.
type EmbeddedConfig struct {
	Dir          string           // data directory, created 0700 if absent
	QuotaBytes   int64            // largest database; 0 is 8 GiB
	ReserveBytes uint64           // free disk space below which writes are refused; 0 is 256 MiB
	Log          *slog.Logger     // nil discards
	Now          func() time.Time // nil is time.Now
	Random       io.Reader        // of audit ids; nil is crypto/rand
	// Copy has an exact copy of what an edge reads kept beside the store, from which Open
	// answers at the next start. Without it one that is there is deleted.
	Copy bool
}

// Embedded opens the store in a directory, with an etcd inside this process that listens
// nowhere. One process at a time may use a directory. A damaged directory is an error;
// it is never replaced by an empty one.
func Embedded(ctx context.Context, c EmbeddedConfig) (*Store, error) {
	o, err := Open(ctx, c)
	if err != nil {
		return nil, err
	}
	<-o.opened // it ends with ctx
	return o.store, o.err
}

// embeddedIn opens the store in a directory that is locked, and unlocks it on failure.
func embeddedIn(ctx context.Context, c EmbeddedConfig, dir *directory) (*Store, error) {
	if err := dir.dropUnstarted(); err != nil {
		dir.unlock()
		return nil, fmt.Errorf("starting the store in %s: %w", c.Dir, err)
	}
	s := newStore(c.Log, c.Now, c.Random)
	started, err := s.start(ctx, c, dir)
	if err != nil {
		s.end(err)
		return nil, fmt.Errorf("starting the store in %s: %w", c.Dir, err)
	}
	client := v3client.New(started.Server)
	engine := &embedded{client: client, etcd: started, dir: dir, reserve: orDefault(c.ReserveBytes, defaultReserve), died: s.Err}
	s.connect(client, engine)
	s.maxOps, s.alone = embeddedMaxOps, true
	if err := s.reclaim(ctx, engine); err != nil && ctx.Err() == nil {
		s.log.Error("the store is full and stays so; nothing can be written", "err", err)
	}
	return s, nil
}

// orDefault returns value, or otherwise when value is the zero value.
func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// attempt is what came of starting etcd.
type attempt struct {
	etcd *embed.Etcd
	err  error
}

// start starts etcd and waits until it serves. When it does not, the directory is
// unlocked as soon as etcd has let go of it.
func (s *Store) start(ctx context.Context, c EmbeddedConfig, dir *directory) (*embed.Etcd, error) {
	attempts := s.launch(ctx, c)
	var a attempt
	select {
	case a = <-attempts:
	case <-ctx.Done():
		a.err = ctx.Err()
	case <-s.life.Done(): // a goroutine of etcd has died that the start waits for
		a.err = context.Cause(s.life)
	}
	if a.err == nil {
		a.err = dir.markUsed()
	}
	if a.err == nil {
		return a.etcd, nil
	}
	if a.etcd != nil {
		attempts = make(chan attempt, 1)
		attempts <- a
	}
	go abandon(attempts, dir)
	if errors.Is(a.err, ctx.Err()) {
		return nil, a.err
	}
	return nil, fmt.Errorf("%w (if it is damaged, restore it from a backup; nothing in it was replaced)", a.err)
}

// abandon cleans up after an attempt that nobody waits for any more. If etcd hangs in it
// the directory stays locked, and rightly so: etcd has its files open.
func abandon(attempts <-chan attempt, dir *directory) {
	if a := <-attempts; a.etcd == nil || stopEtcd(a.etcd) == nil {
		dir.unlock()
	}
}

// launch starts etcd on a goroutine of its own: when its files are damaged, etcd ends the
// goroutine that it runs on, or panics. Both become errors here.
func (s *Store) launch(ctx context.Context, c EmbeddedConfig) chan attempt {
	attempts := make(chan attempt, 1)
	level := zap.NewAtomicLevelAt(zap.ErrorLevel)
	cfg := etcdConfig(c, newZap(s.log, level, s.died))
	go func() {
		a := attempt{err: errors.New("etcd did not start")}
		defer func() {
			if p := recover(); p != nil {
				a.err = fmt.Errorf("etcd did not start: %v", p)
			}
			if cause := context.Cause(s.life); cause != nil && a.err != nil {
				a.err = cause
			}
			attempts <- a
		}()
		if a.etcd, a.err = embed.StartEtcd(cfg); a.err != nil {
			return
		}
		select {
		case <-a.etcd.Server.ReadyNotify():
			level.SetLevel(zap.WarnLevel) // what it warns of while starting are its defaults
		case <-s.life.Done():
			a.err = context.Cause(s.life)
		case <-ctx.Done():
			a.err = ctx.Err()
		}
	}()
	return attempts
}

// died ends the store's life because the engine gave up.
func (s *Store) died(err error) {
	err = fmt.Errorf("etcd gave up: %w", err)
	s.log.Error("the store has stopped; put its disk right and start again", "err", err)
	s.end(err)
}

// etcdConfig is etcd's own configuration: one member, no listener, every write fsynced
// (which is etcd's default and has no switch here).
func etcdConfig(c EmbeddedConfig, logger *zap.Logger) *embed.Config {
	nowhere := url.URL{Scheme: "http", Host: "localhost:0"}
	cfg := embed.NewConfig()
	cfg.Name = "lacre"
	cfg.Dir = filepath.Join(c.Dir, etcdDir)
	cfg.InitialCluster = cfg.Name + "=" + nowhere.String() // a name for its only member, never dialled
	cfg.AdvertisePeerUrls = []url.URL{nowhere}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	// The only member elects itself: ticks decide how fast that is and nothing else.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.MaxTxnOps = embeddedMaxOps
	cfg.QuotaBackendBytes = orDefault(c.QuotaBytes, defaultQuota)
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, history
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	cfg.MaxWalFiles, cfg.WatchProgressNotifyInterval = logSegments, progress
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return cfg
}

// embedded is the engine inside this process.
type embedded struct {
	client  *clientv3.Client
	etcd    *embed.Etcd
	dir     *directory
	reserve uint64
	mirror  *mirror      // keeps the copy; nil without
	died    func() error // why etcd gave up, nil if it did not
}

func (e *embedded) room() error { return e.dir.room(e.reserve) }

func (e *embedded) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	return e.client.Status(ctx, "")
}

func (e *embedded) snapshot(ctx context.Context) (io.ReadCloser, error) {
	return e.client.Snapshot(ctx)
}

// close keeps the directory locked if etcd does not let go of its files. Nobody writes any
// more: what the copy holds when it has caught up is all there is.
func (e *embedded) close() error {
	exact := e.died() == nil && e.mirror.finish(e.etcd.Server.KV().Rev())
	e.client.Close()
	if err := stopEtcd(e.etcd); err != nil {
		return err
	}
	e.mirror.end(exact)
	return e.dir.unlock()
}

// stopEtcd gives an engine that has given up, and may hang, a few seconds.
func stopEtcd(e *embed.Etcd) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.Close()
	}()
	select {
	case <-stopped:
		return nil
	case <-time.After(closingPatience):
		return errors.New("etcd did not stop; its files stay open until the process ends")
	}
}
