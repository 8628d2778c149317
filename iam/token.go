package iam

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/jwt"

	"lacre"
)

// The figures of a token.
const (
	// lifetime of a token (IAM: 24 hours).
	lifetime = 24 * time.Hour
	// freshFor is how long a user's record and a revocation are believed without asking
	// the store again: it bounds both the store's load and how late a change takes effect.
	freshFor = time.Second
	// longestToken bounds what is looked at; ours are about 500 bytes.
	longestToken = 4096
)

// issuer marks our tokens. Whatever else should come to be signed by this keyset must
// name another, so that it cannot be presented as a token.
const issuer = "lacre/iam"

// token is what a token says. At most one of ProjectID and AccountID is set: its scope.
type token struct {
	ID        string   `json:"jti"`
	UserID    string   `json:"sub"`
	ProjectID string   `json:"project"`
	AccountID string   `json:"account"`
	Epoch     int      `json:"epoch"` // of the user when it was issued
	Methods   []string `json:"methods"`
	Issued    int64    `json:"iat"` // Unix seconds
	Expires   int64    `json:"exp"` // Unix seconds, the first at which it is refused
}

// sign returns the compact form of t (RFC 7519, HS256).
func (a *IAM) sign(t token) (string, error) {
	// Tink takes claims as JSON has them: any for the elements, float64 for numbers.
	methods := make([]any, len(t.Methods))
	for i, m := range t.Methods {
		methods[i] = m
	}
	issued, expires := time.Unix(t.Issued, 0), time.Unix(t.Expires, 0)
	raw, err := jwt.NewRawJWT(&jwt.RawJWTOptions{
		Issuer: new(issuer), Subject: &t.UserID, JWTID: &t.ID, IssuedAt: &issued, ExpiresAt: &expires,
		CustomClaims: map[string]any{
			"project": t.ProjectID, "account": t.AccountID, "epoch": float64(t.Epoch), "methods": methods,
		},
	})
	if err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	text, err := a.tokens.ComputeMACAndEncode(raw)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return text, nil
}

// verify checks signature and expiry of a compact token. A signature that was good once
// is good as long as the text is the same; the expiry is looked at every time. Tink's
// errors quote parts of the token and are not passed on.
func (a *IAM) verify(text string) (token, error) {
	if text == "" {
		return token{}, lacre.Errorf(lacre.CodeTokenMissing, "the request carries no token")
	}
	if len(text) > longestToken { // before anything is allocated for it
		return token{}, errInvalidToken
	}
	digest := sha256.Sum256([]byte(text))
	if t, ok := a.decoded.Get(digest); ok {
		return t, t.expired(a.now())
	}
	t, err := a.decode(text)
	if err == nil {
		a.decoded.Add(digest, t)
	}
	return t, err
}

func (t *token) expired(now time.Time) error {
	if now.Unix() >= t.Expires {
		return lacre.Errorf(lacre.CodeTokenExpired, "the token has expired")
	}
	return nil
}

func (a *IAM) decode(text string) (token, error) {
	validator, err := jwt.NewValidator(&jwt.ValidatorOpts{ExpectedIssuer: new(issuer), FixedNow: a.now()})
	if err != nil {
		return token{}, fmt.Errorf("making a token validator: %w", err)
	}
	verified, err := a.tokens.VerifyMACAndDecode(text, validator)
	if jwt.IsExpirationErr(err) {
		return token{}, lacre.Errorf(lacre.CodeTokenExpired, "the token has expired")
	}
	if err != nil {
		return token{}, errInvalidToken
	}
	payload, err := verified.JSONPayload()
	if err != nil {
		return token{}, errInvalidToken
	}
	var t token
	if err := json.Unmarshal(payload, &t); err != nil || t.ID == "" || t.UserID == "" {
		return token{}, errInvalidToken
	}
	return t, nil
}

var errInvalidToken = lacre.Errorf(lacre.CodeTokenInvalid, "the token is not valid")

// session is a token that was checked, with the records it speaks of. The records are
// shared with other requests: read only.
type session struct {
	token token // zero when an access key was used
	sighting
}

// identity is what there is to know something about: a user in a project, or in none,
// by a token, or by an access key when its id is empty.
type identity struct{ tokenID, userID, projectID string }

func (t *token) identity() identity { return identity{t.ID, t.UserID, t.ProjectID} }

// sighting is what the store said about an identity at some time. Records that are not
// there are nil.
type sighting struct {
	at      time.Time
	user    *lacre.User
	project *lacre.Project
	group   *lacre.PermissionGroup // the user's role in the project, unless it is a built-in one
	revoked bool
}

// role returns the user's role in the project, empty when the user has no part in it.
func (s *sighting) role() lacre.Role {
	if s.project == nil {
		return ""
	}
	if role := s.user.Roles[s.project.ID]; role.Known() || s.group != nil {
		return role
	}
	return ""
}

// session checks a compact token in full: signature, expiry, revocation, and the user
// and project as the store knows them.
func (a *IAM) session(ctx context.Context, text string) (*session, error) {
	t, err := a.verify(text)
	if err != nil {
		return nil, err
	}
	s, err := a.sight(ctx, t.identity())
	if err != nil {
		return nil, err
	}
	// One answer for all of these: it is nobody's business which.
	current := s.user != nil && !s.user.Disabled && s.user.Epoch == t.Epoch && !s.revoked
	if !current || t.ProjectID != "" && s.project == nil {
		return nil, errInvalidToken
	}
	return &session{token: t, sighting: s}, nil
}

// sight returns what the store says about who, at most freshFor ago. A failure is never
// remembered and never covered by an older answer: without the store nobody is let in.
func (a *IAM) sight(ctx context.Context, who identity) (sighting, error) {
	now := a.now()
	if s, ok := a.seen.Get(who); ok && !now.Before(s.at) && now.Sub(s.at) < freshFor {
		return s, nil
	}
	s := sighting{at: now} // before the reads: what changes after them is news
	var err error
	if who.tokenID != "" {
		if s.revoked, err = a.users.Revoked(ctx, who.tokenID); err != nil {
			return sighting{}, storeError("looking for a revocation", err)
		}
	}
	if s.user, err = orNil(a.users.User(ctx, who.userID)); err != nil {
		return sighting{}, storeError("reading a user", err)
	}
	if who.projectID != "" && s.user != nil {
		if s.project, s.group, err = a.part(ctx, s.user, who.projectID); err != nil {
			return sighting{}, err
		}
	}
	a.seen.Add(who, s)
	return s, nil
}

// part returns a project and, if it is no built-in one, the user's role in it. What is
// not there is nil.
func (a *IAM) part(ctx context.Context, user *lacre.User, projectID string) (*lacre.Project, *lacre.PermissionGroup, error) {
	project, err := orNil(a.users.Project(ctx, projectID))
	if err != nil {
		return nil, nil, storeError("reading a project", err)
	}
	if role := user.Roles[projectID]; project != nil && role != "" && !role.Known() {
		group, err := orNil(a.users.PermissionGroup(ctx, project.AccountName, role))
		if err != nil {
			return nil, nil, storeError("reading a role", err)
		}
		return project, group, nil
	}
	return project, nil, nil
}

// orNil turns "not stored" into nil without an error.
func orNil[R any](record *R, err error) (*R, error) {
	if errors.Is(err, lacre.ErrNotStored) {
		return nil, nil
	}
	return record, err
}
