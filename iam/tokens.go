package iam

import (
	"net/http"
	"slices"
	"time"

	"lacre"
)

// named is the short form of a record in IAM's answers; roles have their name as id.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// namedInAccount is a user or project with the account it is in, which IAM calls domain.
type namedInAccount struct {
	named
	Domain named `json:"domain"`
}

// tokenAnswer is what IAM says about a token. The clients read expires_at, project and
// the catalog, which must be an array.
type tokenAnswer struct {
	Methods []string        `json:"methods"`
	Issued  string          `json:"issued_at"`
	Expires string          `json:"expires_at"`
	User    namedInAccount  `json:"user"`
	Project *namedInAccount `json:"project,omitempty"`
	Domain  *named          `json:"domain,omitempty"`
	Roles   []named         `json:"roles"`
	Catalog []struct{}      `json:"catalog"` // always empty: clients are told their endpoints
}

// createToken answers POST /v3/auth/tokens. An exchanged token ends when the given one
// would have: nobody stays signed in by exchanging.
func (a *IAM) createToken(w http.ResponseWriter, r *http.Request) error {
	q, err := readTokenRequest(r)
	if err != nil {
		return err
	}
	now := a.now()
	t := token{ID: lacre.NewID(), Methods: q.Auth.Identity.Methods, Issued: now.Unix(), Expires: now.Add(lifetime).Unix()}
	var user *lacre.User
	if q.method() == "token" {
		given, err := a.exchange(r.Context(), string(q.Auth.Identity.Token.ID))
		if err != nil {
			return err
		}
		user, t.Expires = given.user, given.token.Expires
		t.Methods = slices.Compact(append([]string{"token"}, given.token.Methods...))
	} else if user, err = a.signIn(r.Context(), &q.Auth.Identity.Password.User, sourceOf(r)); err != nil {
		return err
	}
	t.UserID, t.Epoch = user.ID, user.Epoch // the epoch as of the check of the password
	seen, err := a.scoped(r.Context(), &t, user, q.Auth.Scope)
	if err != nil {
		return err
	}
	text, err := a.sign(t)
	if err != nil {
		return err
	}
	w.Header().Set("X-Subject-Token", text)
	writeToken(w, http.StatusCreated, &session{token: t, sighting: seen})
	return nil
}

// showToken answers GET /v3/auth/tokens: what the token in X-Subject-Token is.
func (a *IAM) showToken(w http.ResponseWriter, r *http.Request) error {
	subject, err := a.subject(r)
	if err != nil {
		return err
	}
	w.Header().Set("X-Subject-Token", r.Header.Get("X-Subject-Token"))
	writeToken(w, http.StatusOK, subject)
	return nil
}

// revokeToken answers DELETE /v3/auth/tokens. Other nodes know within freshFor.
func (a *IAM) revokeToken(w http.ResponseWriter, r *http.Request) error {
	subject, err := a.subject(r)
	if err != nil {
		return err
	}
	t := subject.token
	if err := a.users.Revoke(r.Context(), t.ID, time.Unix(t.Expires, 0)); err != nil {
		return storeError("revoking a token", err)
	}
	a.seen.Remove(t.identity())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// subject returns the session of X-Subject-Token, which its own user only may look
// into and revoke.
func (a *IAM) subject(r *http.Request) (*session, error) {
	caller, err := a.sender(r, "")
	if err != nil {
		return nil, err
	}
	subject, err := a.session(r.Context(), r.Header.Get("X-Subject-Token"))
	switch lacre.CodeOf(err) {
	case lacre.CodeTokenMissing, lacre.CodeTokenExpired, lacre.CodeTokenInvalid:
		return nil, &lacre.Error{Code: codeNoSubject, Message: "The token to look at is not valid", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if subject.user.ID != caller.user.ID {
		return nil, lacre.Errorf(lacre.CodeForbidden, "The token belongs to another user")
	}
	return subject, nil
}

// writeToken answers what s is, in the same words to a sign-in and to a later question.
func writeToken(w http.ResponseWriter, status int, s *session) {
	account := named{s.user.AccountID, s.user.AccountName}
	answer := tokenAnswer{
		Methods: s.token.Methods, Issued: stamp(s.token.Issued), Expires: stamp(s.token.Expires),
		User:  namedInAccount{named{s.user.ID, s.user.Name}, account},
		Roles: []named{}, Catalog: []struct{}{},
	}
	if p := s.project; p != nil {
		answer.Project = &namedInAccount{named{p.ID, p.Name}, named{p.AccountID, p.AccountName}}
		if role := s.role(); role != "" {
			answer.Roles = []named{{string(role), string(role)}}
		}
	}
	if s.token.AccountID != "" {
		answer.Domain = &account
	}
	writeJSON(w, status, map[string]tokenAnswer{"token": answer})
}

// stamp writes a Unix time as IAM does, with microseconds.
func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02T15:04:05.000000Z") }
