package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"

	"lacre"
)

// restoringDir is a data directory within one, where a store is restored before it is taken
// over. Nothing of it is of any use after a crash.
const restoringDir = "restoring"

// databaseFile is etcd's database, in a data directory.
const databaseFile = etcdDir + "/member/snap/db"

// ErrOccupied means that there is a store where one was to be restored.
var ErrOccupied = errors.New("there is a store already")

// Contents is what was found in a store that was restored.
type Contents struct {
	Revision     int64
	Domains      int
	Certificates int
	Unreadable   int // records that cannot be read, and were in the backup
}

// Restore makes the store of a data directory from a backup, all of it or nothing. The
// directory may be new, or one whose etcd is lost or was moved away; what else is in it, such as
// the master key, stays. It is ErrOccupied otherwise. Root is refused in a directory of another
// user. A backup that is no good leaves no file or directory that was not there. No node is taken
// for alive afterwards: those of the backup are not over this store.
func Restore(ctx context.Context, path, backup string, log *slog.Logger) (Contents, error) {
	found, err := restore(ctx, path, backup, orDefault(log, slog.New(slog.DiscardHandler)))
	if err != nil {
		return Contents{}, fmt.Errorf("restoring %s into %s: %w", backup, path, err)
	}
	return found, nil
}

func restore(ctx context.Context, path, backup string, log *slog.Logger) (found Contents, err error) {
	if err := mayRestore(path, os.Geteuid()); err != nil {
		return found, err
	}
	if err := openable(backup); err != nil {
		return found, fmt.Errorf("opening the backup: %w", err)
	}
	undo, err := makeDirectory(path)
	if err == nil {
		found, err = restoreInto(ctx, path, backup, log)
	}
	if err != nil {
		undo()
	}
	return found, err
}

func restoreInto(ctx context.Context, path, backup string, log *slog.Logger) (found Contents, err error) {
	dir := &directory{path: path}
	_, there := os.Lstat(dir.file(lockFile))
	if dir.lock, err = lockDirectory(path); err != nil {
		return found, err
	}
	defer dir.unlock()
	defer func() {
		if err != nil && errors.Is(there, fs.ErrNotExist) {
			os.Remove(dir.file(lockFile)) // while it is held; for who has just opened it see lockDirectory
		}
	}()
	if err := dir.vacant(); err != nil {
		return found, err
	}
	aside := dir.file(restoringDir)
	defer os.RemoveAll(aside)
	if found, err = unpackAndInspect(ctx, backup, aside, log); err != nil {
		return found, err
	}
	return found, dir.adopt(aside)
}

// makeDirectory is os.MkdirAll. What it has made is undone as far as nobody has put anything there.
func makeDirectory(path string) (undo func(), err error) {
	var missing []string
	for at := filepath.Clean(path); at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, at)
	}
	undo = func() {
		for _, made := range missing { // the innermost first
			os.Remove(made)
		}
	}
	return undo, os.MkdirAll(path, 0o700)
}

// openable refuses what is no file that can be read. A pipe cannot: a backup is read twice.
func openable(backup string) error {
	info, err := os.Stat(backup)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", backup)
	}
	f, err := os.Open(backup)
	if err != nil {
		return err
	}
	return f.Close()
}

func unpackAndInspect(ctx context.Context, backup, aside string, log *slog.Logger) (found Contents, err error) {
	err = summed(backup)
	if err == nil {
		err = unpackSnapshot(backup, aside, log)
	}
	if err != nil {
		return found, fmt.Errorf("this is no whole backup: %w", err)
	}
	if ctx.Err() == nil {
		found, err = inspect(ctx, aside, log)
	}
	return found, orDefault(ctx.Err(), err)
}

// summed refuses what cannot have a checksum behind it, which etcd tells by the size. It would
// say so with a flag that there is not here.
func summed(backup string) error {
	info, err := os.Stat(backup)
	if err == nil && info.Size()%512 != sha256.Size {
		err = errors.New("it has no checksum at its end")
	}
	return err
}

// mayRestore refuses root in a directory of somebody else, who could not open what root makes
// there. Any other user got in by what its owner has allowed, such as the group of a volume.
func mayRestore(path string, uid int) error {
	info, err := os.Stat(path)
	if err != nil {
		return ignoreMissing(err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && uid == 0 && s.Uid != 0 {
		return fmt.Errorf("it belongs to user %d, who could not open what root restores: run this as that user", s.Uid)
	}
	return nil
}

// vacant returns nil when no store is in the directory. A link to one that is not mounted
// is not nothing.
func (d *directory) vacant() error {
	if _, err := d.format(); err != nil {
		return err
	}
	etcd := d.file(etcdDir)
	if _, err := os.Lstat(etcd); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%w: %s", ErrOccupied, etcd), err)
	}
	return os.RemoveAll(d.file(restoringDir)) // of a restore that was killed
}

// adopt takes the store of another directory over. The copy that was kept of a former one
// goes first: it would not be believed, and a failure to delete it leaves no store.
func (d *directory) adopt(from string) error {
	err := errors.Join(ignoreMissing(os.Remove(d.file(markFile))), d.dropCopy())
	if err == nil {
		err = os.Rename(filepath.Join(from, etcdDir), d.file(etcdDir))
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return err
	}
	return d.markUsed()
}

// unpackSnapshot makes etcd's part of a data directory from a snapshot, whose checksum it compares. Where etcd
// gives up it panics or ends the goroutine.
func unpackSnapshot(file, to string, log *slog.Logger) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("etcd gave up")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("etcd gave up: %v", p)
			}
			result <- err
		}()
		logger := newZap(log, zap.ErrorLevel, func(why error) { err = why })
		cfg := etcdConfig(EmbeddedConfig{}, logger)
		err = snapshot.NewV3(logger).Restore(snapshot.RestoreConfig{
			SnapshotPath: file, OutputDataDir: filepath.Join(to, etcdDir), Name: cfg.Name, InitialCluster: cfg.InitialCluster,
			InitialClusterToken: cfg.InitialClusterToken, PeerURLs: []string{cfg.AdvertisePeerUrls[0].String()},
		})
		if err == nil {
			letIn(filepath.Join(to, databaseFile), logger)
		}
	}()
	return <-result
}

// letIn switches etcd's authentication off, which a cluster may have had: inside this process
// there is nobody to keep out.
func letIn(database string, logger *zap.Logger) {
	file := backend.NewDefaultBackend(logger, database)
	defer file.Close()
	auth := schema.NewAuthBackend(logger, file)
	auth.CreateAuthBuckets() // etcd does so at each start
	tx := auth.BatchTx()
	tx.Lock()
	tx.UnsafeSaveAuthEnabled(false)
	tx.Unlock()
	auth.ForceCommit()
}

// inspect opens a store that was restored, reads what an edge would, and forgets the nodes.
// Only the reading can be called off: a start that nobody waits for goes on making files, of a
// directory that is deleted meanwhile.
func inspect(ctx context.Context, path string, log *slog.Logger) (found Contents, err error) {
	database, err := os.Stat(filepath.Join(path, databaseFile))
	if err != nil {
		return found, err
	}
	s, err := Embedded(context.WithoutCancel(ctx), EmbeddedConfig{Dir: path, QuotaBytes: database.Size() + 1<<30, Log: log})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	secrets, err := s.secrets(ctx)
	if err == nil && len(secrets) == 0 {
		err = errors.New("it holds no store of Lacre's")
	}
	if err != nil {
		return found, err
	}
	for _, prefix := range []string{nodes, alive} {
		if _, err := write(ctx, s, func(ctx context.Context) (*clientv3.DeleteResponse, error) {
			return s.kv.Delete(ctx, prefix, clientv3.WithPrefix())
		}); err != nil {
			return found, fmt.Errorf("forgetting the nodes: %w", err)
		}
	}
	return s.contents(ctx)
}

// contents reads all domains and certificates, as an edge does at its start.
func (s *Store) contents(ctx context.Context) (found Contents, err error) {
	_, bad, err := s.AllDomains(ctx, func(*lacre.Domain) error {
		found.Domains++
		return nil
	})
	if err != nil {
		return found, err
	}
	found.Unreadable = len(bad)
	all := func(*lacre.Certificate) bool { return true }
	var certificates, unreadable atomic.Int64
	found.Revision, err = s.AllVersions(ctx, all, func(_, _ string, l lacre.Latest) error {
		certificates.Add(1)
		if l.Err != nil || len(l.Damaged) > 0 {
			unreadable.Add(1)
		}
		return nil
	})
	found.Certificates = int(certificates.Load())
	found.Unreadable += int(unreadable.Load())
	return found, err
}
