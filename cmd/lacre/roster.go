package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"lacre"
	"lacre/store"
)

const (
	nodeIDFile  = "node-id.json"
	lookEvery   = 20 * time.Millisecond  // between two looks at what the edge has proven
	reportEvery = 100 * time.Millisecond // at most, however much changes
	renewEvery  = store.AliveFor / 3
	leaveWithin = 2 * time.Second
	forgetAfter = 24 * time.Hour // a node that is silent; see docs/operate.md
)

// roster is what this node knows of the edges over its store: its own at first hand, others by
// what they report there. An embedded store is nobody else's, so nothing is reported.
type roster struct {
	node *node

	mu   sync.Mutex
	self lacre.Node // without its Proof
}

// newRoster gives the node its id, which it keeps over restarts: one that was killed is the
// same node when it comes back, and not another one that has fallen silent.
func newRoster(n *node) (*roster, error) {
	r := &roster{node: n, self: lacre.Node{Name: n.cfg.NodeName, Instance: n.cfg.Instance, Started: n.now().UTC(), Alive: true}}
	err := readJSON(filepath.Join(n.cfg.DataDir, nodeIDFile), &r.self.ID)
	if errors.Is(err, fs.ErrNotExist) {
		r.self.ID = lacre.NewID()
		err = writeFile(n.cfg.DataDir, nodeIDFile, r.self.ID, 0o644)
	}
	if err == nil && len(r.self.ID) != 32 {
		err = fmt.Errorf("%s: expected 32 hexadecimal digits", nodeIDFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the id of this node: %w", err)
	}
	if r.self.Name == "" {
		r.self.Name, _ = os.Hostname()
	}
	return r, nil
}

// own is this node as it is now.
func (r *roster) own() lacre.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.self
	n.Reported, n.Proof = r.node.now().UTC(), r.node.edge.Proof()
	return n
}

// Nodes implements lacre.Roster.
func (r *roster) Nodes(ctx context.Context) (all []lacre.Node, err error) {
	if r.node.shared() {
		if all, err = r.node.store.Nodes(ctx); err != nil {
			return nil, err
		}
	}
	if r.node.edge == nil {
		return all, nil
	}
	own := r.own()
	all = slices.DeleteFunc(all, func(n lacre.Node) bool { return n.ID == own.ID })
	return append(all, own), nil
}

// shared tells whether other nodes are over the same store.
func (n *node) shared() bool { return len(n.cfg.EtcdEndpoints) > 0 }

// report tells the other nodes what this edge has proven, whenever that changes, until ctx
// ends; then it leaves.
func (r *roster) report(ctx context.Context) {
	place := r.node.store.Presence(r.own().ID)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
		defer cancel()
		if err := place.Leave(ctx); err != nil {
			r.node.log.Warn("the other nodes could not be told that this one has ended", "err", err)
		}
	}()
	look, renew := time.NewTicker(lookEvery), time.NewTicker(renewEvery)
	defer look.Stop()
	defer renew.Stop()
	var said *lacre.Proof // nil when it has to be said again
	var last time.Time
	for resting := false; ; {
		own, due := r.own(), !resting && time.Since(last) >= reportEvery
		if due && (said == nil || !reflect.DeepEqual(*said, own.Proof)) {
			last = time.Now()
			err := place.Report(ctx, &own)
			if said = &own.Proof; err != nil {
				place, said, resting = r.failed(ctx, place, err), nil, true
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-renew.C:
			resting = false
			if held, err := place.Renew(ctx); err != nil {
				place, said = r.failed(ctx, place, err), nil
			} else if !held {
				said = nil
			}
		}
	}
}

// failed is where to report after an error: elsewhere if the place is another node's.
func (r *roster) failed(ctx context.Context, place *store.Presence, err error) *store.Presence {
	switch {
	case errors.Is(err, store.ErrTaken):
		return r.rename()
	case ctx.Err() == nil:
		r.node.log.Warn("what this edge serves could not be reported; will try again", "err", err)
	}
	return place
}

// rename gives this node another id until it ends: the data directory is a copy of another
// node's, and neither may speak for the other.
func (r *roster) rename() *store.Presence {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.self.ID
	r.self.ID = lacre.NewID()
	r.node.log.Warn("another node has the same id, since its data directory is a copy; this one takes a new id until it is started again",
		"file", nodeIDFile, "old", old, "new", r.self.ID)
	return r.node.store.Presence(r.self.ID)
}
