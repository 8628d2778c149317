package iam_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lacre"
	"lacre/iam"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// backing renames the interface, whose name is that of one of its methods.
type backing interface{ iam.Users }

// faulty is a store that can be made to fail, and that counts what it is asked.
type faulty struct {
	backing
	down  atomic.Bool // nothing answers
	lose  atomic.Bool // commits happen and are reported as failed
	asked atomic.Int64
}

func (f *faulty) failure() error {
	f.asked.Add(1)
	if f.down.Load() {
		return lacre.ErrUnavailable
	}
	return nil
}

func (f *faulty) User(ctx context.Context, id string) (*lacre.User, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	return f.backing.User(ctx, id)
}

func (f *faulty) UserByName(ctx context.Context, account, name string) (*lacre.User, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	return f.backing.UserByName(ctx, account, name)
}

func (f *faulty) Project(ctx context.Context, id string) (*lacre.Project, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	return f.backing.Project(ctx, id)
}

func (f *faulty) AccessKey(ctx context.Context, id string) (*lacre.AccessKey, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	return f.backing.AccessKey(ctx, id)
}

func (f *faulty) Audits(ctx context.Context, projectID string, q lacre.AuditQuery) (lacre.AuditPage, error) {
	if err := f.failure(); err != nil {
		return lacre.AuditPage{}, err
	}
	return f.backing.Audits(ctx, projectID, q)
}

func (f *faulty) Revoked(ctx context.Context, id string) (bool, error) {
	if err := f.failure(); err != nil {
		return false, err
	}
	return f.backing.Revoked(ctx, id)
}

func (f *faulty) Revoke(ctx context.Context, id string, until time.Time) error {
	if err := f.failure(); err != nil {
		return err
	}
	return f.backing.Revoke(ctx, id, until)
}

func (f *faulty) Commit(ctx context.Context, tx lacre.Tx) (int64, error) {
	if err := f.failure(); err != nil {
		return 0, err
	}
	revision, err := f.backing.Commit(ctx, tx)
	return revision, errors.Join(err, f.lost())
}

func (f *faulty) lost() error {
	if f.lose.Load() {
		return lacre.ErrUnavailable
	}
	return nil
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// dead is a store that never answers.
type dead struct{ *faulty }

func (dead) Users(context.Context) ([]*lacre.User, error) { return nil, lacre.ErrUnavailable }
