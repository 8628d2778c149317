package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

// User returns one user, lacre.ErrNotStored when there is none.
func (s *Store) User(ctx context.Context, id string) (*lacre.User, error) {
	return one(ctx, s, &lacre.User{ID: id})
}

// UserByName returns the user who holds a name in an account.
func (s *Store) UserByName(ctx context.Context, account, name string) (*lacre.User, error) {
	claim, err := one(ctx, s, &lacre.UserName{AccountName: account, Name: name})
	if err != nil {
		return nil, err
	}
	return s.User(ctx, claim.UserID)
}

// Users returns all users.
func (s *Store) Users(ctx context.Context) ([]*lacre.User, error) {
	return list[*lacre.User](ctx, s, nil, "iam", "user")
}

// AccessKey returns one access key, lacre.ErrNotStored when there is none.
func (s *Store) AccessKey(ctx context.Context, id string) (*lacre.AccessKey, error) {
	return one(ctx, s, &lacre.AccessKey{ID: id})
}

// AccessKeys returns the access keys of a user. It reads those of everybody: they are
// few, and asked for by people.
func (s *Store) AccessKeys(ctx context.Context, userID string) ([]*lacre.AccessKey, error) {
	theirs := func(k *lacre.AccessKey) bool { return k.UserID == userID }
	return list(ctx, s, theirs, "iam", "accesskey")
}

// PermissionGroup returns a role that an account has made.
func (s *Store) PermissionGroup(ctx context.Context, account string, name lacre.Role) (*lacre.PermissionGroup, error) {
	return one(ctx, s, &lacre.PermissionGroup{AccountName: account, Name: name})
}

// PermissionGroups returns the roles that an account has made, by name.
func (s *Store) PermissionGroups(ctx context.Context, account string) ([]*lacre.PermissionGroup, error) {
	return list[*lacre.PermissionGroup](ctx, s, nil, "iam", "role", account)
}

// ProjectByName returns the project that holds a name in an account.
func (s *Store) ProjectByName(ctx context.Context, account, name string) (*lacre.Project, error) {
	claim, err := one(ctx, s, &lacre.ProjectName{AccountName: account, Name: name})
	if err != nil {
		return nil, err
	}
	return s.Project(ctx, claim.ProjectID)
}

// Projects returns all projects.
func (s *Store) Projects(ctx context.Context) ([]*lacre.Project, error) {
	return list[*lacre.Project](ctx, s, nil, "project")
}

// Empty tells whether nobody has moved in yet: there is neither a user nor a project.
// Secrets do not count, they may be made first.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).Then(
			clientv3.OpGet(projects, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()),
			clientv3.OpGet(users, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()),
		).Commit()
	})
	if err != nil {
		return false, fmt.Errorf("looking for users and projects: %w", err)
	}
	for _, r := range resp.Responses {
		if len(r.GetResponseRange().GetKvs()) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// Revoke remembers until a time that a token must no longer be accepted. A time that is
// over needs no remembering. The record goes with an etcd lease, which runs on the
// monotonic clock: setting the clock back does not bring a token back early.
func (s *Store) Revoke(ctx context.Context, tokenID string, until time.Time) error {
	key, err := join("iam", "revoked", tokenID)
	if err != nil {
		return err
	}
	left := until.Sub(s.now())
	if left <= 0 {
		return nil
	}
	seconds := int64(left/time.Second) + 1
	_, err = write(ctx, s, func(ctx context.Context) (*clientv3.PutResponse, error) {
		lease, err := s.lease.Grant(ctx, seconds)
		if err != nil {
			return nil, err
		}
		return s.kv.Put(ctx, key, frame(key, nil), clientv3.WithLease(lease.ID))
	})
	if err != nil {
		return fmt.Errorf("revoking a token: %w", err)
	}
	return nil
}

// Revoked tells whether a token has been revoked. Damage of the record changes nothing:
// that it is there is all it says.
func (s *Store) Revoked(ctx context.Context, tokenID string) (bool, error) {
	key, err := join("iam", "revoked", tokenID)
	if err != nil {
		return false, err
	}
	found, err := s.get(ctx, key, clientv3.WithCountOnly())
	if err != nil {
		return false, fmt.Errorf("looking for a revocation: %w", err)
	}
	return found.Count > 0, nil
}
