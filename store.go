package lacre

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Record is one stored thing: a pointer to Project, ProjectName, Instance,
// InstanceName, Group, GroupName, Domain, Host, Certificate, CertificateName,
// Version, Revocations, Bound, User, UserName, AccessKey or PermissionGroup. Its identifying fields name its key; its
// Revision is the compare-and-swap token of the store.
type Record interface{ record() }

func (*Project) record()         {}
func (*ProjectName) record()     {}
func (*Instance) record()        {}
func (*InstanceName) record()    {}
func (*Group) record()           {}
func (*GroupName) record()       {}
func (*Domain) record()          {}
func (*Host) record()            {}
func (*Certificate) record()     {}
func (*CertificateName) record() {}
func (*Version) record()         {}
func (*Revocations) record()     {}
func (*Bound) record()           {}
func (*User) record()            {}
func (*UserName) record()        {}
func (*AccessKey) record()       {}
func (*PermissionGroup) record() {}

// Audit says who changed what. It is written in the same transaction as the change.
type Audit struct {
	ID        string // assigned by the store, sorts by time
	ProjectID string // empty for changes of the identity calls
	AccountID string // whose users, projects, roles and access keys those changed; else empty
	Time      time.Time
	Action    Permission
	Resource  string // "certificate/<id>", "domain/<id>", ...
	Detail    string // what a reader needs, never key material
	UserID    string
	UserName  string
	Source    string
	RequestID string
}

// AuditQuery asks for a page of audit rows.
type AuditQuery struct {
	AccountID string // exact, like Audit.AccountID: empty for what is in a project
	Resource  string // exact, such as "certificate/<id>"; empty: of everything
	After     string // ID of a row: those older than it; empty: from the newest on
	Limit     int    // how many rows at most
}

// AuditPage is a part of the audit, newest first.
type AuditPage struct {
	Audits []Audit
	Next   string // where the next page begins, as its After; empty when nothing is left
}

// Tx is one atomic change.
//
// Every record in Put and Delete is guarded by its own Revision: 0 means that it must
// not exist yet (Put only), any other value that it must still be at that revision.
// Records in Check are guarded the same way and left alone.
type Tx struct {
	Put    []Record
	Delete []Record
	Check  []Record
	// Forget are records deleted whatever their revision, present or not: superseded
	// versions that fell out of the history.
	Forget []Record
	Audit  Audit
}

// Store keeps records. It is safe for concurrent use, and reads are linearizable: a
// read that starts after a Commit returned sees that commit.
//
// A record that does not exist is ErrNotStored. A record that is there but cannot be
// read (damaged bytes) is *UnreadableError: it concerns that record only, and lists
// leave it out and go on. ErrUnavailable means that the store could not be asked.
// Context cancellation ends every call.
type Store interface {
	Project(ctx context.Context, id string) (*Project, error)
	Instance(ctx context.Context, projectID, id string) (*Instance, error)
	Instances(ctx context.Context, projectID string) ([]*Instance, error)
	Group(ctx context.Context, projectID, id string) (*Group, error)
	Groups(ctx context.Context, projectID, instanceID string) ([]*Group, error)
	Domain(ctx context.Context, projectID, id string) (*Domain, error)
	// Domains returns the domains with the given ids in that order, missing ones left out.
	Domains(ctx context.Context, projectID string, ids []string) ([]*Domain, error)
	// Host returns who claims a canonical host name in an instance.
	Host(ctx context.Context, projectID, instanceID, host string) (*Host, error)
	// Certificate returns one certificate.
	Certificate(ctx context.Context, projectID, id string) (*Certificate, error)
	// Certificates returns every certificate of the project, in no particular order.
	Certificates(ctx context.Context, projectID string) ([]*Certificate, error)
	// CountCertificates counts them, damaged ones included.
	CountCertificates(ctx context.Context, projectID string) (int, error)
	// CertificateName returns who claims a certificate name; instanceID is empty in the
	// global scope.
	CertificateName(ctx context.Context, projectID, instanceID, name string) (*CertificateName, error)
	Version(ctx context.Context, projectID, certificateID string, number int) (*Version, error)
	// Revocations returns the revocation lists kept with a certificate.
	Revocations(ctx context.Context, projectID, certificateID string) (*Revocations, error)
	// Bound returns the bindings of a certificate.
	Bound(ctx context.Context, projectID, certificateID string) ([]*Bound, error)
	// Audits returns audit rows of a project, newest first, in the order of their IDs; an
	// empty project means the rows of changes outside any project. A page ends before its
	// limit, even without a row, when many rows of other resources had to be passed over.
	Audits(ctx context.Context, projectID string, q AuditQuery) (AuditPage, error)

	// Commit applies tx as a whole or not at all and returns the revision it happened
	// at. When it returns nil the change is on disk (quorum and fsync). *ConflictError
	// means that a guard failed and nothing changed. After ErrUnavailable the outcome
	// is unknown: the change happened whole or not at all.
	Commit(ctx context.Context, tx Tx) (int64, error)
}

// Change is everything that happened at one store revision. Deleted records carry
// only their identifying fields. Unreadable names records whose new bytes could not be
// read: whoever holds the last good value should keep it.
type Change struct {
	Revision   int64
	Put        []Record
	Deleted    []Record
	Unreadable []*UnreadableError
}

// Latest is the newest readable version of a certificate, and which newer ones are
// damaged. Err is ErrNotStored when there is none.
type Latest struct {
	Version *Version
	Damaged []*UnreadableError
	Err     error
}

// Errors of a Store.
var (
	// ErrNotStored means that there is no such record.
	ErrNotStored = errors.New("no such record")
	// ErrUnavailable means that the store did not answer.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrCompacted means that the requested revision is gone: load again, then watch.
	ErrCompacted = errors.New("the requested revision has been compacted")
	// ErrMistaken means that what was answered before is not what the store holds: drop
	// it, then load again.
	ErrMistaken = errors.New("what was answered before does not hold")
)

// ConflictError says which guarded record had moved, appeared or gone.
type ConflictError struct{ Record Record }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%T is not at the expected revision", e.Record)
}

// UnreadableError is a record whose stored bytes are damaged.
type UnreadableError struct {
	Record Record // identifying fields only
	Key    string // where it is stored
	Err    error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("record %s is unreadable: %v", e.Key, e.Err)
}
func (e *UnreadableError) Unwrap() error { return e.Err }
