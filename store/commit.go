package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// ErrTooLarge means that a change has more records or bytes than one transaction of the
// store takes. Nothing was changed.
var ErrTooLarge = errors.New("the change is too large for one transaction")

// guard is a condition of a transaction: record, stored under key, is at revision, or
// not there when that is 0.
type guard struct {
	record   lacre.Record
	key      string
	revision int64
}

func (g guard) compare() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(g.key), "=", g.revision) // an absent key compares as 0
}

// change is a lacre.Tx in the language of etcd.
type change struct {
	guards []guard
	ops    []clientv3.Op
	writes map[string]bool // etcd refuses a key that is written twice; say it in our words
}

// Commit implements lacre.Store. Audit.Action is mandatory: nothing changes unseen.
func (s *Store) Commit(ctx context.Context, tx lacre.Tx) (int64, error) {
	c, err := s.compile(tx)
	if err != nil {
		return 0, fmt.Errorf("preparing a change: %w", err)
	}
	resp, err := write(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).If(c.conditions()...).Then(c.ops...).Else(c.probes()...).Commit()
	})
	if err != nil {
		return 0, fmt.Errorf("committing a change: %w", err)
	}
	if !resp.Succeeded {
		return 0, c.conflict(resp)
	}
	return resp.Header.Revision, nil
}

// compile translates a transaction and checks it as far as that goes without the engine.
// The order of the guards is the order in which a conflict is looked for.
func (s *Store) compile(tx lacre.Tx) (*change, error) {
	c := &change{writes: map[string]bool{}}
	for _, r := range tx.Put {
		if err := c.put(r); err != nil {
			return nil, err
		}
	}
	for _, r := range tx.Delete {
		if err := c.delete(r); err != nil {
			return nil, err
		}
	}
	for _, r := range tx.Check {
		if _, err := c.guard(r); err != nil {
			return nil, err
		}
	}
	for _, r := range tx.Forget {
		if err := c.forget(r); err != nil {
			return nil, err
		}
	}
	row, err := s.auditOp(tx.Audit)
	if err != nil {
		return nil, err
	}
	c.ops = append(c.ops, row)
	if n := max(len(c.guards), len(c.ops)); n > s.maxOps {
		return nil, fmt.Errorf("%w: %d operations, at most %d", ErrTooLarge, n, s.maxOps)
	}
	return c, nil
}

// put guards a record and writes it: created when its revision is 0, else replaced.
func (c *change) put(r lacre.Record) error {
	if _, err := c.guard(r); err != nil {
		return err
	}
	key, value, err := encode(r)
	if err != nil {
		return err
	}
	return c.write(key, clientv3.OpPut(key, value))
}

// delete guards a record and deletes it. Revision 0 would demand that there is nothing to
// delete; who means "whatever the revision" says Forget.
func (c *change) delete(r lacre.Record) error {
	g, err := c.guard(r)
	if err != nil {
		return err
	}
	if g.revision == 0 {
		return fmt.Errorf("deleting %s: its revision is not given", g.key)
	}
	return c.write(g.key, clientv3.OpDelete(g.key))
}

func (c *change) forget(r lacre.Record) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	return c.write(key, clientv3.OpDelete(key))
}

// guard demands that a record is where its Revision says.
func (c *change) guard(r lacre.Record) (guard, error) {
	key, err := keyOf(r)
	if err != nil {
		return guard{}, err
	}
	g := guard{record: r, key: key, revision: revisionOf(r)}
	c.guards = append(c.guards, g)
	return g, nil
}

func (c *change) write(key string, op clientv3.Op) error {
	if c.writes[key] {
		return fmt.Errorf("%s is written twice in one change", key)
	}
	c.writes[key] = true
	c.ops = append(c.ops, op)
	return nil
}

// conditions are the guards as etcd compares them: all or nothing.
func (c *change) conditions() []clientv3.Cmp {
	all := make([]clientv3.Cmp, len(c.guards))
	for i, g := range c.guards {
		all[i] = g.compare()
	}
	return all
}

// probes read, in the same transaction, where the guarded keys really are.
func (c *change) probes() []clientv3.Op {
	all := make([]clientv3.Op, len(c.guards))
	for i, g := range c.guards {
		all[i] = clientv3.OpGet(g.key, clientv3.WithKeysOnly())
	}
	return all
}

// conflict names the first guard that failed, in the order Put, Delete, Check.
func (c *change) conflict(resp *clientv3.TxnResponse) error {
	for i, g := range c.guards {
		var at int64
		for _, kv := range resp.Responses[i].GetResponseRange().GetKvs() {
			at = kv.ModRevision
		}
		if at != g.revision {
			return &lacre.ConflictError{Record: g.record}
		}
	}
	return errors.New("a transaction failed although all its guards hold")
}

// revisionOf reads the field that every kind of record has. By reflection: a kind that a
// switch forgets would be guarded as if it were new.
func revisionOf(r lacre.Record) int64 {
	return reflect.ValueOf(r).Elem().FieldByName("Revision").Int()
}
