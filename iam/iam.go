// Package iam says who is calling: it keeps users, passwords and access keys, answers the
// identity calls of the compatible API and turns a token or signature into a lacre.Caller.
//
// Tokens are stateless: signed, then checked against the user's record, so that a
// disabled user, a changed password or a revoked token ends them within a second.
package iam

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/jwt"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"lacre"
)

// Users is what iam needs of a store. The rules of lacre.Store hold: a record that is
// not there is lacre.ErrNotStored, one that cannot be asked for lacre.ErrUnavailable.
type Users interface {
	// User returns a record that is the caller's to change.
	User(ctx context.Context, id string) (*lacre.User, error)
	UserByName(ctx context.Context, account, name string) (*lacre.User, error)
	// Users returns everybody, of all accounts. There is no index by account id.
	Users(ctx context.Context) ([]*lacre.User, error)
	Project(ctx context.Context, id string) (*lacre.Project, error)
	ProjectByName(ctx context.Context, account, name string) (*lacre.Project, error)
	Projects(ctx context.Context) ([]*lacre.Project, error)
	AccessKey(ctx context.Context, id string) (*lacre.AccessKey, error)
	AccessKeys(ctx context.Context, userID string) ([]*lacre.AccessKey, error)
	PermissionGroup(ctx context.Context, account string, name lacre.Role) (*lacre.PermissionGroup, error)
	PermissionGroups(ctx context.Context, account string) ([]*lacre.PermissionGroup, error)
	// Audits returns rows of a project, or those of no project if it is empty.
	Audits(ctx context.Context, projectID string, q lacre.AuditQuery) (lacre.AuditPage, error)
	Commit(ctx context.Context, tx lacre.Tx) (int64, error)
	// Revoke refuses a token id until its token has expired anyway.
	Revoke(ctx context.Context, tokenID string, until time.Time) error
	Revoked(ctx context.Context, tokenID string) (bool, error)
}

// Config is what an IAM is made of.
type Config struct {
	Users    Users
	TokenKey []byte           // as from NewTokenKey, the same on every node
	Sealer   lacre.Sealer     // of the secrets of access keys
	Now      func() time.Time // time.Now when nil
	Log      *slog.Logger     // discards when nil
}

// IAM answers the identity calls (it is an http.Handler for /v3/) and recognises
// callers. It is safe for concurrent use.
type IAM struct {
	users   Users
	sealer  lacre.Sealer
	now     func() time.Time
	log     *slog.Logger
	tokens  jwt.MAC                              // signs and verifies
	decoded *lru.Cache[[sha256.Size]byte, token] // by digest of the text: tokens with a good signature
	seen    *lru.Cache[identity, sighting]
	secrets *lru.Cache[string, opened] // by access key id
	door    *door                      // in front of whatever an unknown sender may make expensive
	people  *lockout[attempt]
	places  *lockout[string]  // by source alone
	keys    *lockout[attempt] // of access keys
	mux     *http.ServeMux
}

// Bounds of what is kept in memory for callers, some hundred bytes each.
const (
	rememberedTokens   = 8192
	rememberedKeys     = 8192
	rememberedAttempts = 16384
)

// New returns an IAM over its parts. It fails when TokenKey is no key.
func New(c Config) (*IAM, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	tokens, err := tokenMAC(c.TokenKey)
	if err != nil {
		return nil, err
	}
	decoded, err := lru.New[[sha256.Size]byte, token](rememberedTokens)
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	seen, err := lru.New[identity, sighting](rememberedTokens)
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	secrets, err := lru.New[string, opened](rememberedKeys)
	if err != nil {
		return nil, fmt.Errorf("making the access key cache: %w", err)
	}
	a := &IAM{
		users: c.Users, sealer: c.Sealer, now: c.Now, log: c.Log, tokens: tokens, decoded: decoded, seen: seen, secrets: secrets, door: newDoor(),
		people: newLockout[attempt](failuresPerPerson), places: newLockout[string](failuresPerPlace),
		keys: newKeyLockout(),
	}
	a.mux = a.routes()
	return a, nil
}

// NewTokenKey makes the key that signs tokens: a Tink keyset in the clear, to be kept
// sealed (keyring.Secret).
func NewTokenKey() ([]byte, error) {
	handle, err := keyset.NewHandle(jwt.HS256Template())
	if err != nil {
		return nil, fmt.Errorf("making a token key: %w", err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&b)); err != nil {
		return nil, fmt.Errorf("writing a token key: %w", err)
	}
	return b.Bytes(), nil
}

func tokenMAC(key []byte) (jwt.MAC, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(key)))
	if err != nil {
		return nil, errors.New("the token key is not a keyset") // its text may show the key
	}
	mac, err := jwt.NewMAC(handle)
	if err != nil {
		return nil, errors.New("the token key does not sign tokens")
	}
	return mac, nil
}

// Authenticate says who sent r: by its signature when it is signed by an access key,
// else by its X-Auth-Token. A token has its project in it; for an access key it is r's
// path value "project_id". The whole body of a signed request is read and left in r. The
// Caller lacks RequestID and Source, which only the receiver of r knows.
//
// Errors carry the codes CodeTokenMissing, CodeTokenExpired, CodeTokenInvalid,
// CodeNoProject, CodeSignature, CodeSignatureExpired, CodeKeyUnknown, CodeKeyLocked,
// CodeForbidden (no role in the project), CodeTooLarge or CodeMalformed (the body), or
// CodeUnavailable: without the store nobody is recognised.
func (a *IAM) Authenticate(r *http.Request) (lacre.Caller, error) {
	s, err := a.sender(r, r.PathValue("project_id"))
	if err != nil {
		return lacre.Caller{}, err
	}
	if s.token.ID != "" && s.token.ProjectID == "" {
		return lacre.Caller{}, lacre.Errorf(lacre.CodeNoProject, "the token is not scoped to a project")
	}
	// The token does not carry the role: one that is changed counts at once.
	role := s.role()
	if role == "" { // also when an access key is used in a project that does not exist
		return lacre.Caller{}, lacre.Errorf(lacre.CodeForbidden, "the user has no role in the project")
	}
	return lacre.Caller{
		UserID: s.user.ID, UserName: s.user.Name, AccountID: s.user.AccountID,
		ProjectID: s.project.ID, ProjectName: s.project.Name, Role: role, Group: s.group,
	}, nil
}

// sender returns the session of r's token or signature. A signature is good for whatever
// project is asked for; a token has its own.
func (a *IAM) sender(r *http.Request, projectID string) (*session, error) {
	if isSigned(r) {
		return a.signed(r, projectID)
	}
	return a.session(r.Context(), r.Header.Get("X-Auth-Token"))
}

// storeError gives a store that did not answer its code. Damaged records and others
// stay without one: they are internal errors, and their text is for the log.
func storeError(doing string, err error) error {
	if errors.Is(err, lacre.ErrUnavailable) {
		return &lacre.Error{Code: lacre.CodeUnavailable, Message: "The store did not answer", Err: fmt.Errorf("%s: %w", doing, err)}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
