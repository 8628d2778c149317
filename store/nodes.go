package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// What a node last said of itself is under nodes, and stays when it falls silent. Under
// alive is a key as long as it is heard of: its lease is renewed without a revision, and runs
// out by etcd's own clock.
const (
	nodes = root + "node/"
	alive = root + "alive/"
)

// AliveFor is how long a node counts as alive after it was last heard of.
const AliveFor = 15 * time.Second

// ErrTaken means that another node reports under the same id, or did until it was killed: then
// that is over within AliveFor.
var ErrTaken = errors.New("another node reports under this id")

// Refused tells whether a write failed because the store is full or its user may only read:
// somebody has to change that before trying again is of use.
func Refused(err error) bool {
	return errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, rpctypes.ErrPermissionDenied)
}

// Presence is the place of one node among all over a store. It is not safe for concurrent
// use.
type Presence struct {
	store *Store
	id    string
	lease clientv3.LeaseID // 0 when there is none
}

// Presence returns the place of a node, which is empty until Report.
func (s *Store) Presence(id string) *Presence { return &Presence{store: s, id: id} }

// Report stores what the node says of itself; Renew keeps it alive from then on. n's ID and
// Alive are not looked at. A revision that the store has not come to is none of this store: it
// was restored, and the edge has not noticed yet.
func (p *Presence) Report(ctx context.Context, n *lacre.Node) error {
	now, err := p.put(ctx, n)
	if err == nil && n.Revision > now {
		older := *n
		older.Revision = 0
		_, err = p.put(ctx, &older)
	}
	if err != nil && !errors.Is(err, ErrTaken) {
		return fmt.Errorf("reporting: %w", err)
	}
	return err
}

// put is Report of whatever revision, and returns the store's.
func (p *Presence) put(ctx context.Context, n *lacre.Node) (int64, error) {
	value, err := encodeNode(p.id, n)
	if err != nil || p.lease == 0 {
		return p.enter(ctx, value)
	}
	resp, err := write(ctx, p.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return p.store.kv.Txn(ctx).
			If(clientv3.Compare(clientv3.LeaseValue(alive+p.id), "=", p.lease)).
			Then(clientv3.OpPut(nodes+p.id, value)).
			Commit()
	})
	switch {
	case err != nil:
		return 0, err
	case resp.Succeeded:
		return resp.Header.Revision, nil
	}
	return p.enter(ctx, value) // its lease ran out while the store was away
}

// enter takes the place under a new lease, unless another node has it.
func (p *Presence) enter(ctx context.Context, value string) (int64, error) {
	p.lease = 0
	lease, err := write(ctx, p.store, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return p.store.lease.Grant(ctx, int64(AliveFor/time.Second))
	})
	if err != nil {
		return 0, err
	}
	resp, err := write(ctx, p.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return p.store.kv.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(alive+p.id), "=", 0)).
			Then(clientv3.OpPut(nodes+p.id, value),
				clientv3.OpPut(alive+p.id, frame(alive+p.id, nil), clientv3.WithLease(lease.ID))).
			Commit()
	})
	switch {
	case err != nil:
		return 0, err
	case !resp.Succeeded:
		return 0, ErrTaken
	}
	p.lease = lease.ID
	return resp.Header.Revision, nil
}

// Renew says that the node is there, within AliveFor of the last time. It is false when the
// place was lost meanwhile: Report again. It is ErrTaken when it has been taken over.
func (p *Presence) Renew(ctx context.Context) (bool, error) {
	if p.lease == 0 {
		return false, nil
	}
	lease := p.lease
	_, err := ask(ctx, p.store, func(ctx context.Context) (*clientv3.LeaseKeepAliveResponse, error) {
		return p.store.lease.KeepAliveOnce(ctx, lease)
	})
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		p.lease = 0
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("renewing: %w", err)
	}
	found, err := p.store.get(ctx, alive+p.id)
	switch {
	case err != nil:
		return true, fmt.Errorf("renewing: %w", err)
	case len(found.Kvs) == 0:
		p.lease = 0
		return false, nil
	case found.Kvs[0].Lease != int64(p.lease):
		return true, ErrTaken
	}
	return true, nil
}

// Leave takes the node out, which serves no more, unless another one has its place.
func (p *Presence) Leave(ctx context.Context) error {
	for _, ours := range []clientv3.Cmp{
		clientv3.Compare(clientv3.LeaseValue(alive+p.id), "=", p.lease),
		clientv3.Compare(clientv3.CreateRevision(alive+p.id), "=", 0), // its lease ran out
	} {
		_, err := write(ctx, p.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return p.store.kv.Txn(ctx).
				If(ours).
				Then(clientv3.OpDelete(nodes+p.id), clientv3.OpDelete(alive+p.id)).
				Commit()
		})
		if err != nil {
			return fmt.Errorf("leaving: %w", err)
		}
	}
	return nil
}

// Nodes returns what every node last said of itself, those included that are silent. One
// whose word cannot be read is there without it.
func (s *Store) Nodes(ctx context.Context) ([]lacre.Node, error) {
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).Then(clientv3.OpGet(nodes, clientv3.WithPrefix()),
			clientv3.OpGet(alive, clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
	})
	if err != nil {
		return nil, fmt.Errorf("reading the nodes: %w", err)
	}
	heard := make(map[string]bool)
	for _, kv := range resp.Responses[1].GetResponseRange().Kvs {
		heard[strings.TrimPrefix(string(kv.Key), alive)] = true
	}
	var all []lacre.Node
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		n, err := decodeNode(kv)
		if err != nil {
			s.log.ErrorContext(ctx, "what a node reported cannot be read", "node", n.ID, "err", err)
		}
		n.Alive = heard[n.ID]
		if n.Revision > resp.Header.Revision { // of before the store was restored
			n.Revision = 0
		}
		all = append(all, n)
	}
	return all, nil
}

// ForgetNodes takes out the nodes that are silent and last reported before a time. One whose
// word cannot be read stays: nobody knows how long it has been silent.
func (s *Store) ForgetNodes(ctx context.Context, before time.Time) error {
	all, err := s.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.Alive || n.Reported.IsZero() || n.Reported.After(before) {
			continue
		}
		_, err := write(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return s.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(alive+n.ID), "=", 0)).
				Then(clientv3.OpDelete(nodes + n.ID)).Commit()
		})
		if err != nil {
			return fmt.Errorf("forgetting node %s: %w", n.ID, err)
		}
		s.log.WarnContext(ctx, "a silent node is forgotten", "node", n.ID, "name", n.Name, "reported", n.Reported)
	}
	return nil
}

func encodeNode(id string, n *lacre.Node) (string, error) {
	shape := nodeShape{Name: n.Name, Instance: n.Instance, Project: n.Project, Started: n.Started, Reported: n.Reported,
		Revision: n.Revision, Since: n.Since, More: n.More, Unlisted: n.Unlisted}
	for _, f := range n.Failing {
		shape.Failing = append(shape.Failing, failingShape(f))
	}
	payload, err := encoding.Marshal(shape)
	if err != nil {
		return "", fmt.Errorf("encoding a node: %w", err)
	}
	return frame(nodes+id, payload), nil
}

// decodeNode passes over what newer nodes say more. The ID is there in any case.
func decodeNode(kv *mvccpb.KeyValue) (lacre.Node, error) {
	n := lacre.Node{ID: strings.TrimPrefix(string(kv.Key), nodes)}
	payload, err := unframe(string(kv.Key), kv.Value)
	if err != nil {
		return n, err
	}
	var shape nodeShape
	if err := passing.Unmarshal(payload, &shape); err != nil {
		return n, err
	}
	n.Name, n.Instance, n.Project, n.Started, n.Reported = shape.Name, shape.Instance, shape.Project, shape.Started, shape.Reported
	n.Revision, n.Since, n.More, n.Unlisted = shape.Revision, shape.Since, shape.More, shape.Unlisted
	for _, f := range shape.Failing {
		n.Failing = append(n.Failing, lacre.Failing(f))
	}
	return n, nil
}
