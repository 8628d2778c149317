package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"lacre"
	"lacre/store"
)

const (
	nodeIDFile  = "node-id.json"
	lookEvery   = 20 * time.Millisecond  // between two looks at what the edge has proven
	reportEvery = 100 * time.Millisecond // at most, however much changes
	refreshAge  = 5 * time.Minute        // of a report, before it is made again: silence is counted from it
	renewEvery  = store.AliveFor / 3
	enterWithin = 3 * time.Second // nobody is served meanwhile
	enterPause  = enterWithin / 10
	leaveWithin = 2 * time.Second
)

// roster is what this node knows of the edges over its store. An embedded store has one, which
// is asked; over an external one all report there, this one too.
type roster struct {
	node *node

	// Only report uses these once enter has returned.
	place *store.Presence
	said  lacre.Proof // what is stored; revision -1 when that is not known
	last  time.Time   // when it was tried
	taken time.Time   // since when another node has the place; zero if it has not

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
	if raw, bad := hex.DecodeString(r.self.ID); err == nil && (bad != nil || len(raw) != 16) {
		err = errors.New("expected 32 hexadecimal digits")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the id of this node from %s: %w", nodeIDFile, err)
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
	n.Reported, n.Project, n.Proof = r.node.now().UTC(), r.node.edge.Project(), r.node.edge.Proof()
	return n
}

// Nodes implements lacre.Roster.
func (r *roster) Nodes(ctx context.Context) ([]lacre.Node, error) {
	switch {
	case r.node.shared():
		return r.node.store.Nodes(ctx)
	case r.node.edge == nil:
		return nil, nil
	}
	return []lacre.Node{r.own()}, nil
}

// shared tells whether other nodes are over the same store.
func (n *node) shared() bool { return len(n.cfg.EtcdEndpoints) > 0 }

// reports tells whether this node has an edge of which others have to know.
func (n *node) reports() bool { return n.edge != nil && n.shared() }

// enter has the node listed, with nothing proven: before the edge serves anybody, so that
// nothing is ever served by a node that nobody knows of. A store that takes no report must not
// keep an edge from serving for long: report goes on trying.
func (r *roster) enter(ctx context.Context) error {
	s, err := r.node.opening.Wait(ctx)
	if err != nil {
		return err
	}
	r.place = s.Presence(r.self.ID)
	short, cancel := context.WithTimeout(ctx, enterWithin)
	defer cancel()
	err = r.reportOnce(short)
	switch {
	case err == nil || errors.Is(err, store.ErrTaken): // killed just now, and still listed
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	r.node.log.Error("this node serves and is not listed: rollouts do not know of it until it can report", "err", err)
	return nil
}

// reportOnce tries to report until it is done, until ctx ends, or until the store refuses it:
// somebody has to mend that first.
func (r *roster) reportOnce(ctx context.Context) error {
	own := r.own()
	for {
		err := r.place.Report(ctx, &own)
		if err == nil || errors.Is(err, store.ErrTaken) || store.Refused(err) {
			return err
		}
		r.node.log.Warn("what this edge serves could not be reported; will try again", "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(enterPause):
		}
	}
}

// leave takes the node out, which has ended.
func (r *roster) leave() {
	if r == nil || r.place == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if err := r.place.Leave(ctx); err != nil {
		r.node.log.Warn("the other nodes could not be told that this one has ended", "err", err)
	}
}

// report tells the other nodes what this edge has proven, whenever that changes, until ctx
// ends.
func (r *roster) report(ctx context.Context) {
	look, renew := time.NewTicker(lookEvery), time.NewTicker(renewEvery)
	defer look.Stop()
	defer renew.Stop()
	for r.said.Revision = -1; ctx.Err() == nil; {
		err := r.tell(ctx)
		if err == nil {
			select {
			case <-ctx.Done():
			case <-look.C:
			case <-renew.C:
				err = r.renew(ctx)
			}
		}
		if err == nil {
			continue
		}
		r.failed(ctx, err)
		select { // nothing is gained by trying at once
		case <-ctx.Done():
		case <-renew.C:
			r.renew(ctx) // a store that is full keeps it alive
		}
	}
}

// tell reports if there is anything to say.
func (r *roster) tell(ctx context.Context) error {
	own, age := r.own(), time.Since(r.last)
	if age < reportEvery || age < refreshAge && reflect.DeepEqual(r.said, own.Proof) {
		return nil
	}
	r.last, r.said.Revision = time.Now(), -1
	err := r.place.Report(ctx, &own)
	if err == nil {
		r.said, r.taken = own.Proof, time.Time{}
	}
	return err
}

// renew keeps the node alive. What it said is said again if its place was lost.
func (r *roster) renew(ctx context.Context) error {
	held, err := r.place.Renew(ctx)
	if !held || err != nil {
		r.said.Revision = -1
	}
	return err
}

// failed deals with an error of reporting. A place that another node has becomes free in time
// if that one was killed; else it is one with the same id.
func (r *roster) failed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case !errors.Is(err, store.ErrTaken):
		r.node.log.Warn("what this edge serves could not be reported; will try again", "err", err)
	case r.taken.IsZero():
		r.taken = time.Now()
	case time.Since(r.taken) > store.AliveFor+renewEvery:
		r.rename()
	}
}

// rename gives this node another id until it ends: the data directory is a copy of another
// node's, and neither may speak for the other.
func (r *roster) rename() {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.self.ID
	r.self.ID = lacre.NewID()
	r.place, r.taken = r.node.store.Presence(r.self.ID), time.Time{}
	r.node.log.Warn("another node has the same id, since its data directory is a copy; this one takes a new id until it is started again",
		"file", nodeIDFile, "old", old, "new", r.self.ID)
}
