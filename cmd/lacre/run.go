package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"lacre/edge"
)

// listen takes the addresses first, so that a busy port is found before anything else
// happens.
func (n *node) listen(ctx context.Context) error {
	addresses := map[string]string{"api": n.cfg.API}
	if n.cfg.has("edge") {
		addresses["edge"], addresses["edge-http"] = n.cfg.Edge, n.cfg.EdgeHTTP
	}
	for _, name := range []string{"api", "edge", "edge-http"} {
		address, ok := addresses[name]
		if !ok {
			continue
		}
		l, err := edge.Listen(ctx, address)
		if err != nil {
			return hinted{fmt.Errorf("listening for --%s: %w", name, err), "choose another address, or port 0 for a free one, with --" + name}
		}
		n.listeners[name] = l
	}
	return nil
}

// run serves until ctx ends or a part fails, then drains and closes the node. The edge serves
// from the beginning, the API once the store is open. started is called when all listeners
// accept and the edge serves what the store holds.
func (n *node) run(ctx context.Context, started func() error) error {
	background, stop := context.WithCancel(context.Background())
	defer stop()
	n.parts.Go(func() { n.apiFiles.follow(background) })
	n.parts.Go(func() { n.etcdFiles.follow(background) })
	var err error
	if n.reports() {
		err = n.roster.enter(ctx)
	}
	if err == nil {
		n.startEdge(background)
		err = n.complete(ctx)
	}
	if err == nil {
		n.start(background)
		err = n.warm(ctx)
	}
	if err == nil {
		err = started()
	}
	if err == nil {
		n.parts.Go(func() { n.change.run(background) })
		select {
		case <-ctx.Done():
		case err = <-n.failed:
		}
	}
	n.log.Info("shutting down", "drain_time", n.cfg.DrainTime)
	n.drain()
	stop()
	n.parts.Wait() // nobody uses the store any more
	n.roster.leave()
	return errors.Join(err, n.close())
}

func (n *node) startEdge(ctx context.Context) {
	if n.edge != nil {
		n.parts.Go(func() { n.edge.Follow(ctx) }) // its error is that ctx ended
		n.serve("edge", n.edge.ServeTLS)
		n.serve("edge-http", n.edge.ServePlain)
	}
}

func (n *node) start(ctx context.Context) {
	n.serve("api", func(l net.Listener) error {
		if n.apiServer.TLSConfig != nil {
			return n.apiServer.ServeTLS(l, "", "")
		}
		return n.apiServer.Serve(l)
	})
	n.serveBackups(ctx)
	n.parts.Go(func() { n.keepAudits(ctx) })
	n.parts.Go(func() { n.forgetNodes(ctx) })
	if n.reports() {
		n.parts.Go(func() { n.roster.report(ctx) })
	}
	n.parts.Go(func() { n.watchStore(ctx) })
}

func (n *node) serve(name string, serve func(net.Listener) error) {
	n.parts.Go(func() {
		if err := serve(n.listeners[name]); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("serving --%s: %w", name, err)
		}
	})
}

// watchStore sees to it that the end of the embedded store, which can no longer write
// its log, is not silent. An edge that has loaded goes on serving what it knows, while
// the API answers 500 and /readyz and lacre_store_up say why; any other node ends.
func (n *node) watchStore(ctx context.Context) {
	select {
	case <-n.store.Done():
	case <-ctx.Done():
		return
	}
	err := n.store.Err()
	switch {
	case err == nil:
	case n.edge != nil && n.edge.Status().Ready:
		n.log.Error("the edge goes on serving what it knows; nothing can be changed until this process is started again")
	default:
		n.failed <- fmt.Errorf("the store has stopped: %w", err)
	}
}

// warm waits until the edge has loaded the store.
func (n *node) warm(ctx context.Context) error {
	if n.edge == nil {
		return nil
	}
	select {
	case <-n.edge.Ready():
		return nil
	case err := <-n.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepAudits drops audit rows that are older than the retention, once an hour, and packs
// those of days that are over: all of them at first, then the last day's again, for
// what came late.
func (n *node) keepAudits(ctx context.Context) {
	var packed time.Time
	every(ctx, time.Hour, func() {
		now := n.now()
		if err := n.store.PruneAudits(ctx, now.AddDate(0, 0, -n.cfg.AuditDays)); err != nil && ctx.Err() == nil {
			n.log.Warn("old audit rows could not be dropped", "err", err)
		}
		err := n.store.PackAudits(ctx, packed)
		if err == nil {
			packed = now.AddDate(0, 0, -1)
		} else if ctx.Err() == nil {
			n.log.Warn("old audit rows could not be packed", "err", err)
		}
	})
}

// forgetNodes takes out the nodes that have been silent for long.
func (n *node) forgetNodes(ctx context.Context) {
	every(ctx, time.Minute, func() {
		if err := n.store.ForgetNodes(ctx, n.now().Add(-n.cfg.ForgetNode)); err != nil && ctx.Err() == nil {
			n.log.Warn("nodes that are gone could not be forgotten", "err", err)
		}
	})
}

// every does something at once and then in turn, until ctx ends.
func every(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		do()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// drain stops accepting and lets requests in flight finish, as long as the drain time
// lasts; what is open then is cut.
func (n *node) drain() {
	n.stop()
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTime)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		if n.apiServer == nil { // the store was never open
			drained <- nil
			return
		}
		if err := n.apiServer.Shutdown(ctx); err != nil {
			drained <- errors.Join(err, n.apiServer.Close())
			return
		}
		drained <- nil
	}()
	var err error
	if n.edge != nil {
		err = n.edge.Shutdown(ctx)
	}
	if err = errors.Join(err, <-drained); err != nil {
		n.log.Warn("some connections were cut at the end of the drain time", "err", err)
	}
}

func (n *node) close() error {
	for _, l := range n.listeners {
		l.Close() // closed already after a drain
	}
	if n.accessLog != nil {
		n.accessLog.Close() // what it got is written
	}
	if n.opening == nil {
		return nil
	}
	return n.opening.Close()
}
