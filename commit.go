package lacre

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
)

// attempts bounds how often a change is tried again after being overtaken by others.
const attempts = 16

var seed = maphash.MakeSeed()

// turn queues the changes of one thing on this node, so that a busy certificate makes
// its writers wait in line instead of overtaking each other in the store. It is a
// courtesy: correctness rests on the guards of each transaction. Several things share a
// line; who waits in it for nothing, its context having ended, leaves.
func (s *Service) turn(ctx context.Context, key string) (done func(), err error) {
	line := s.turns[maphash.String(seed, key)%uint64(len(s.turns))]
	select {
	case line <- struct{}{}:
		return func() { <-line }, nil
	case <-ctx.Done():
		return nil, contended(ctx.Err())
	}
}

func contended(err error) error {
	return &Error{Code: CodeContended, Message: "too many concurrent changes, try again", Err: err}
}

// settle repeats one read-check-commit until no concurrent change got in between, and
// returns the revision of the commit (0 when there was nothing to commit).
func (s *Service) settle(ctx context.Context, key string, attempt func() (int64, error)) (int64, error) {
	done, err := s.turn(ctx, key)
	if err != nil {
		return 0, err
	}
	defer done()
	for range attempts {
		revision, err := attempt()
		if _, overtaken := errors.AsType[*ConflictError](err); !overtaken {
			return revision, err
		}
	}
	return 0, contended(nil)
}

// commit writes tx with its audit row filled in. Conflicts come back as they are.
func (s *Service) commit(ctx context.Context, by Caller, projectID string, action Permission, resource, detail string, tx Tx) (int64, error) {
	tx.Audit = Audit{
		ProjectID: projectID, Time: s.Now().UTC(), Action: action, Resource: resource, Detail: detail,
		UserID: by.UserID, UserName: by.UserName, Source: by.Source, RequestID: by.RequestID,
	}
	revision, err := s.Store.Commit(ctx, tx)
	if err != nil {
		return 0, storeError(err)
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "changed", slog.String("action", string(action)), slog.String("project", projectID),
		slog.String("resource", resource), slog.String("detail", detail), slog.String("user", by.UserName),
		slog.String("request_id", by.RequestID), slog.Int64("revision", revision))
	return revision, nil
}

// served waits until this node's edge serves what was committed at revision. The change
// is durable either way, so running out of time is a warning and not an error.
func (s *Service) served(ctx context.Context, revision int64) []string {
	if s.Edge == nil || revision == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.EdgeWait)
	defer cancel()
	if err := s.Edge.Applied(ctx, revision); err != nil {
		s.Log.Warn("the edge of this node is behind", "revision", revision, "err", err)
		return []string{"The change is stored, but the edge of this node does not serve it yet."}
	}
	return nil
}

// conflictOn tells whether err is a failed guard on a record of type R: for the claim
// of a name that means the name is taken.
func conflictOn[R Record](err error) bool {
	conflict, ok := errors.AsType[*ConflictError](err)
	if !ok {
		return false
	}
	_, ok = conflict.Record.(R)
	return ok
}

// storeError gives store failures their code; conflicts and coded errors pass through.
func storeError(err error) error {
	if _, ok := errors.AsType[*UnreadableError](err); ok {
		return &Error{Code: CodeUnreadable, Message: "A stored record is damaged: restore it from a backup", Err: err}
	}
	if errors.Is(err, ErrUnavailable) {
		return &Error{Code: CodeUnavailable, Message: "The store did not answer", Err: err}
	}
	return err
}

// found gives a failed lookup of one thing its code.
func found(err error, missing Code, what, id string) error {
	if errors.Is(err, ErrNotStored) {
		return &Error{Code: missing, Message: what + " " + id + " does not exist"}
	}
	return storeError(err)
}

// allow refuses callers without permission p in the project. It says the same whether
// the project exists or not.
func (s *Service) allow(ctx context.Context, by Caller, projectID string, p Permission) error {
	if by.ProjectID == "" {
		return Errorf(CodeNoProject, "the token is not scoped to a project")
	}
	if by.ProjectID == projectID && by.Allows(p) {
		return nil
	}
	s.Log.LogAttrs(ctx, slog.LevelWarn, "refused", slog.String("action", string(p)), slog.String("project", projectID),
		slog.String("user", by.UserName), slog.String("user_project", by.ProjectID), slog.String("source", by.Source),
		slog.String("request_id", by.RequestID))
	return Errorf(CodeForbidden, "No permissions to request this method")
}

func (s *Service) certificate(ctx context.Context, projectID, id string) (*Certificate, error) {
	c, err := s.Store.Certificate(ctx, projectID, id)
	return c, found(err, CodeCertificateNotFound, "SSL certificate", id)
}

func (s *Service) instance(ctx context.Context, projectID, id string) (*Instance, error) {
	i, err := s.Store.Instance(ctx, projectID, id)
	return i, found(err, CodeInstanceNotFound, "instance", id)
}

// openInstance is an instance that things may still be added to.
func (s *Service) openInstance(ctx context.Context, projectID, id string) (*Instance, error) {
	i, err := s.instance(ctx, projectID, id)
	if err == nil && i.Closing {
		return nil, Errorf(CodeInUse, "instance %s is being deleted", id)
	}
	return i, err
}

// group is a group of the named instance.
func (s *Service) group(ctx context.Context, projectID, instanceID, id string) (*Group, error) {
	if _, err := s.instance(ctx, projectID, instanceID); err != nil {
		return nil, err
	}
	g, err := s.Store.Group(ctx, projectID, id)
	if err == nil && g.InstanceID != instanceID {
		err = ErrNotStored
	}
	return g, found(err, CodeGroupNotFound, "API group", id)
}

// domain is a domain of the named group.
func (s *Service) domain(ctx context.Context, projectID, instanceID, groupID, id string) (*Domain, error) {
	if _, err := s.group(ctx, projectID, instanceID, groupID); err != nil {
		return nil, err
	}
	d, err := s.Store.Domain(ctx, projectID, id)
	if err = found(err, CodeDomainNotFound, "domain", id); err != nil {
		return nil, err
	}
	if d.GroupID != groupID {
		return nil, Errorf(CodeGroupMismatch, "domain %s belongs to another API group", id)
	}
	return d, nil
}
