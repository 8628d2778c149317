package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Backups are asked for over a socket in a directory that only the owner of the data directory
// may enter: whoever can do so can read the store's files anyway. There is no permission of the
// API for it, since a backup holds all projects.
const (
	adminDir     = "admin"
	backupSocket = "backup.sock"
)

// backupPatience is how long a backup may hang at whoever takes it: the store keeps what is
// deleted as long as it lasts.
const backupPatience = time.Minute

func backupSocketOf(dataDir string) string { return filepath.Join(dataDir, adminDir, backupSocket) }

// listenForBackups makes the socket. The data directory is ours, so one that is there is left over.
func listenForBackups(ctx context.Context, dataDir string) (net.Listener, error) {
	dir := filepath.Join(dataDir, adminDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	path := backupSocketOf(dataDir)
	if err := ignoreMissing(os.Remove(path)); err != nil {
		return nil, err
	}
	return new(net.ListenConfig).Listen(ctx, "unix", path)
}

// serveBackups gives out backups until the node stops. Without a socket there are none, which is
// no reason not to serve.
func (n *node) serveBackups(ctx context.Context) {
	l, err := listenForBackups(ctx, n.cfg.DataDir)
	if err != nil {
		n.log.Warn("no backups can be taken of the running store", "err", err)
		return
	}
	s := &http.Server{Handler: http.HandlerFunc(n.backUp), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(n.stopping, func() { s.Close() })
	n.parts.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("backups can be taken no more", "err", err)
		}
	})
}

// backUp answers with a backup. One that fails on the way is not ended as HTTP has it.
func (n *node) backUp(w http.ResponseWriter, r *http.Request) {
	began := n.now()
	out := &impatient{w, http.NewResponseController(w), backupPatience}
	size, err := n.store.Backup(r.Context(), out)
	switch {
	case err == nil:
		n.log.Info("a backup was taken", "bytes", size, "took", n.now().Sub(began))
	case size == 0:
		n.log.Error("a backup could not be taken", "err", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		n.log.Error("a backup was not finished", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// impatient is an answer that ends when nothing of it is taken for a while.
type impatient struct {
	io.Writer
	control  *http.ResponseController
	patience time.Duration
}

// Write is io.Writer's.
func (w *impatient) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.patience)); err != nil {
		return 0, err
	}
	return w.Writer.Write(b)
}
