package iam

import (
	"context"
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

// verify checks signature and expiry of a compact token. Tink's errors quote parts of
// the token and are not passed on.
func (a *IAM) verify(text string) (token, error) {
	if text == "" {
		return token{}, lacre.Errorf(lacre.CodeTokenMissing, "the request carries no token")
	}
	if len(text) > longestToken { // before anything is allocated for it
		return token{}, errInvalidToken
	}
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
	token   token
	user    *lacre.User
	project *lacre.Project // nil unless the token is scoped to a project
}

// sighting is what the store said about a token at some time. Records that are not
// there are nil.
type sighting struct {
	at      time.Time
	user    *lacre.User
	project *lacre.Project
	revoked bool
}

// session checks a compact token in full: signature, expiry, revocation, and the user
// and project as the store knows them.
func (a *IAM) session(ctx context.Context, text string) (*session, error) {
	t, err := a.verify(text)
	if err != nil {
		return nil, err
	}
	s, err := a.sight(ctx, t)
	if err != nil {
		return nil, err
	}
	// One answer for all of these: it is nobody's business which.
	current := s.user != nil && !s.user.Disabled && s.user.Epoch == t.Epoch && !s.revoked
	if !current || t.ProjectID != "" && s.project == nil {
		return nil, errInvalidToken
	}
	return &session{token: t, user: s.user, project: s.project}, nil
}

// sight returns what the store says about t, at most freshFor ago. A failure is never
// remembered and never covered by an older answer: without the store nobody is let in.
func (a *IAM) sight(ctx context.Context, t token) (sighting, error) {
	now := a.now()
	if s, ok := a.seen.Get(t.ID); ok && !now.Before(s.at) && now.Sub(s.at) < freshFor {
		return s, nil
	}
	s := sighting{at: now} // before the reads: what changes after them is news
	var err error
	if s.revoked, err = a.users.Revoked(ctx, t.ID); err != nil {
		return sighting{}, storeError("looking for a revocation", err)
	}
	if s.user, err = orNil(a.users.User(ctx, t.UserID)); err != nil {
		return sighting{}, storeError("reading the user of a token", err)
	}
	if t.ProjectID != "" {
		if s.project, err = orNil(a.users.Project(ctx, t.ProjectID)); err != nil {
			return sighting{}, storeError("reading the project of a token", err)
		}
	}
	a.seen.Add(t.ID, s)
	return s, nil
}

// orNil turns "not stored" into nil without an error.
func orNil[R any](record *R, err error) (*R, error) {
	if errors.Is(err, lacre.ErrNotStored) {
		return nil, nil
	}
	return record, err
}
