package iam

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"lacre"
)

// LongestKeystoneCache bounds how long a token may go on working after Keystone stopped
// vouching for it.
const LongestKeystoneCache = time.Minute

// The figures of an outside Keystone.
const (
	// refusedFor is how long a refusal is believed, so that who repeats it does not reach
	// Keystone, and who gets a role soon has it.
	refusedFor = 5 * time.Second
	// longestKeystoneToken has room for JWS tokens; Fernet ones are about 200 bytes.
	longestKeystoneToken = 8192
	// mostQuestions may wait for Keystone at once; further ones fail at once.
	mostQuestions = 512
)

// KeystoneProjects is what a Keystone needs of a store, with the rules of lacre.Store.
type KeystoneProjects interface {
	Project(ctx context.Context, id string) (*lacre.Project, error)
	Commit(ctx context.Context, tx lacre.Tx) (int64, error)
}

// KeystoneConfig says where an OpenStack Keystone (identity API v3) is, how to ask it and
// what its roles mean here. URL and Projects are mandatory.
type KeystoneConfig struct {
	URL     string         // with or without the final /v3
	RootCAs *x509.CertPool // the system's when nil
	// Roles gives role names of Keystone ours; DefaultKeystoneRoles when nil.
	Roles map[string]lacre.Role
	// User may validate any token (in Keystone's default policy: has the role "service" or
	// "admin" in Project). Without a User every token is validated by itself.
	User       string
	Password   lacre.Secret
	UserDomain string // of User and Project; "Default" when empty
	Project    string // "service" when empty
	Projects   KeystoneProjects
	// Timeout bounds one exchange with Keystone; default 5 s.
	Timeout time.Duration
	// Cache is how long a valid token is believed without asking again; default 30 s, at
	// most a minute.
	Cache time.Duration
	Now   func() time.Time // time.Now when nil
	Log   *slog.Logger     // discards when nil
}

// DefaultKeystoneRoles maps the roles that every Keystone starts with.
func DefaultKeystoneRoles() map[string]lacre.Role {
	return map[string]lacre.Role{"admin": lacre.RoleAdmin, "member": lacre.RoleOperator, "reader": lacre.RoleViewer}
}

// Keystone recognises callers by tokens of an outside OpenStack Keystone, instead of an
// IAM. It is safe for concurrent use.
//
// It fails closed. Without an answer of Keystone a token works until its time in the
// cache is over, and no longer.
type Keystone struct {
	config  KeystoneConfig // with its defaults
	now     func() time.Time
	client  *http.Client
	tokens  string // URL of the tokens
	cache   *verdicts
	flights singleflight.Group // validations, by digest of the token
	places  chan struct{}      // one for each validation under way
	breaker *breaker
	pass    servicePass
}

// NewKeystone returns a Keystone, which it does not contact. It fails when the
// configuration makes no sense.
func NewKeystone(c KeystoneConfig) (*Keystone, error) {
	c.setDefaults()
	tokens, err := tokensURL(c.URL)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &Keystone{
		config: c, now: c.Now, client: keystoneClient(c), tokens: tokens, cache: newVerdicts(),
		places: make(chan struct{}, mostQuestions), breaker: newBreaker(c.Timeout, c.Log),
	}, nil
}

func (c *KeystoneConfig) setDefaults() {
	if c.Roles == nil {
		c.Roles = DefaultKeystoneRoles()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.UserDomain = cmp.Or(c.UserDomain, "Default")
	c.Project = cmp.Or(c.Project, "service")
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Cache = cmp.Or(c.Cache, 30*time.Second)
}

func (c *KeystoneConfig) check() error {
	for theirs, ours := range c.Roles {
		if theirs == "" || !ours.Known() {
			return fmt.Errorf("keystone role %q cannot mean %q: expected admin, operator or viewer", theirs, ours)
		}
	}
	switch {
	case c.Projects == nil:
		return errors.New("a keystone needs the projects of a store")
	case c.Timeout < 0 || c.Cache < 0 || c.Cache > LongestKeystoneCache:
		return fmt.Errorf("tokens of keystone can be cached for up to %v", LongestKeystoneCache)
	case (c.User == "") != (c.Password == ""):
		return errors.New("the user that asks keystone and its password go together")
	}
	return nil
}

// Authenticate says who sent r by its X-Auth-Token. Signatures by access keys, which
// belong to an IAM, are not looked at.
//
// The Caller's account is the user's domain, its role the strongest that any of the
// token's roles means. The first time that somebody who may create domains appears in a
// project, the project gets a record, without which edges would not look for its domains.
//
// Errors carry the codes CodeTokenMissing, CodeTokenInvalid, CodeTokenExpired,
// CodeNoProject, CodeForbidden (none of the token's roles means anything here),
// CodeIAMUnavailable (Keystone did not answer, made no sense or does not trust us: never
// the caller's fault) or CodeUnavailable (the store).
func (k *Keystone) Authenticate(r *http.Request) (lacre.Caller, error) {
	text := r.Header.Get("X-Auth-Token")
	if text == "" {
		return lacre.Caller{}, lacre.Errorf(lacre.CodeTokenMissing, "the request carries no token")
	}
	if !tokenlike(text) {
		return lacre.Caller{}, errInvalidToken
	}
	key := sha256.Sum256([]byte(text))
	if v, ok := k.cache.get(key, k.now()); ok {
		return v.caller, v.err
	}
	// The validation does not end with the request that started it: others wait for it.
	answers := k.flights.DoChan(string(key[:]), func() (any, error) { return k.judge(key, text) })
	select {
	case a := <-answers:
		if a.Err != nil {
			return lacre.Caller{}, a.Err
		}
		v := a.Val.(verdict)
		return v.caller, v.err
	case <-r.Context().Done():
		return lacre.Caller{}, unavailable("waiting for keystone: %w", r.Context().Err())
	}
}

// tokenlike tells whether text can be put into a header field and could be a token.
func tokenlike(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return len(text) <= longestKeystoneToken
}

// judge asks Keystone about a token and remembers the answer. A failure to get one is
// not remembered.
func (k *Keystone) judge(key digest, text string) (verdict, error) {
	asked := k.now()
	if v, ok := k.cache.get(key, asked); ok { // an earlier flight has just landed
		return v, nil
	}
	select {
	case k.places <- struct{}{}:
		defer func() { <-k.places }()
	default:
		return verdict{}, unavailable("too many tokens wait for keystone")
	}
	ctx := context.Background() // every exchange has its own timeout
	t, err := k.validate(ctx, text)
	if err != nil && lacre.CodeOf(err) != lacre.CodeTokenInvalid {
		return verdict{}, err
	}
	v := verdict{at: asked, until: asked.Add(refusedFor), err: err}
	if err == nil {
		if v, err = k.recognise(ctx, t, asked); err != nil {
			return verdict{}, err
		}
	}
	k.cache.add(key, v)
	return v, nil
}

// recognise says what a token that Keystone vouches for means here.
func (k *Keystone) recognise(ctx context.Context, t *keystoneToken, asked time.Time) (verdict, error) {
	v := verdict{at: asked, until: asked.Add(refusedFor)}
	if !asked.Before(t.Expires) {
		v.err = lacre.Errorf(lacre.CodeTokenExpired, "the token has expired")
		return v, nil
	}
	if t.Project == nil {
		v.err = lacre.Errorf(lacre.CodeNoProject, "the token is not scoped to a project")
		return v, nil
	}
	role := k.role(t)
	if role == "" {
		v.err = lacre.Errorf(lacre.CodeForbidden, "the token has no role with a meaning here")
		return v, nil
	}
	v.caller = lacre.Caller{
		UserID: t.User.ID, UserName: t.User.Name, AccountID: t.User.Domain.ID,
		ProjectID: t.Project.ID, ProjectName: t.Project.Name, Role: role,
	}
	if v.until = asked.Add(k.config.Cache); t.Expires.Before(v.until) {
		v.until = t.Expires
	}
	return v, k.adopt(ctx, t, &v.caller)
}

// role is the strongest of ours that the roles of t mean, empty when none does.
func (k *Keystone) role(t *keystoneToken) lacre.Role {
	has := map[lacre.Role]bool{}
	for _, r := range t.Roles {
		has[k.config.Roles[r.Name]] = true
	}
	for _, role := range []lacre.Role{lacre.RoleAdmin, lacre.RoleOperator, lacre.RoleViewer} {
		if has[role] {
			return role
		}
	}
	return ""
}

// adopt makes sure that the project of a caller who may create domains has a record: a
// store finds the domains of all projects, and the audit rows to prune, by these records.
// It claims no name, as names are Keystone's to give.
func (k *Keystone) adopt(ctx context.Context, t *keystoneToken, by *lacre.Caller) error {
	if !by.Allows(lacre.CanCreateDomain) {
		return nil
	}
	_, err := k.config.Projects.Project(ctx, t.Project.ID)
	if _, damaged := errors.AsType[*lacre.UnreadableError](err); err == nil || damaged {
		return nil // the key alone counts
	}
	if !errors.Is(err, lacre.ErrNotStored) {
		return storeError("looking for a project of keystone", err)
	}
	now := k.now().UTC()
	_, err = k.config.Projects.Commit(ctx, lacre.Tx{
		Put: []lacre.Record{&lacre.Project{
			ID: t.Project.ID, Name: t.Project.Name, AccountID: t.Project.Domain.ID, AccountName: t.Project.Domain.Name, Created: now,
		}},
		Audit: lacre.Audit{
			Time: now, Action: createdProject, Resource: "project/" + t.Project.ID, Detail: "a project of keystone was seen first",
			AccountID: by.AccountID, UserID: by.UserID, UserName: by.UserName,
		},
	})
	if _, exists := errors.AsType[*lacre.ConflictError](err); err == nil || exists { // another node was faster
		return nil
	}
	return storeError("recording a project of keystone", err)
}

// ServeHTTP answers the identity calls: with a 404 that says where Keystone is. It does
// not redirect, or clients would send their passwords on.
func (k *Keystone) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	writeError(w, http.StatusNotFound, lacre.Errorf(lacre.CodeRouteNotFound, "Tokens are issued by the Keystone at %s", k.config.URL))
}
