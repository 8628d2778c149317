package iam

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"lacre"
)

// longestBody bounds the body of a token request; real ones are below 1 KiB.
const longestBody = 64 << 10

// tokenRequest is the body of POST /v3/auth/tokens (IAM API, "Obtaining a User Token
// Through Password Authentication"). Unknown fields are ignored and null is absent, as
// clients of all ages send both. Secrets are of a type that cannot be printed.
type tokenRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User claim `json:"user"`
			} `json:"password"`
			Token struct {
				ID lacre.Secret `json:"id"`
			} `json:"token"`
		} `json:"identity"`
		Scope scope `json:"scope"`
	} `json:"auth"`
}

// reference names something by id, or by name. The id wins.
type reference struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// claim is who somebody says they are: a user by id, or by name within an account
// (which IAM calls a domain).
type claim struct {
	reference
	Password lacre.Secret `json:"password"`
	Domain   reference    `json:"domain"`
}

// scope is what a token shall be good for: one project, one account, or neither. The
// certificate API takes tokens for a project only.
type scope struct {
	Project *projectReference `json:"project"`
	Domain  *reference        `json:"domain"`
}

// projectReference is a project by id, or by name within a domain, which is the user's
// own when absent (golangsdk sends it, the API page's example does not).
type projectReference struct {
	reference
	Domain reference `json:"domain"`
}

// readTokenRequest decodes and checks the shape of a token request. What it says about
// a bad one repeats nothing of it.
func readTokenRequest(r *http.Request) (*tokenRequest, error) {
	var q tokenRequest
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	return &q, q.check()
}

// readBody decodes one JSON value and refuses a second.
func readBody(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	err := decoder.Decode(into)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return unreadBody(err)
	}
	return nil
}

// unreadBody says why a body could not be read, without repeating any of it.
func unreadBody(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return lacre.Errorf(lacre.CodeTooLarge, "the body is larger than %d bytes", large.Limit)
	}
	return lacre.Errorf(lacre.CodeMalformed, "the body is not the JSON this call takes")
}

// check tells what is missing, by the names of the API page.
func (q *tokenRequest) check() error {
	identity, user := &q.Auth.Identity, &q.Auth.Identity.Password.User
	switch method := q.method(); {
	case method != "password" && method != "token":
		return lacre.FieldErrorf(lacre.CodeInvalidField, "auth.identity.methods", `expected ["password"] or ["token"]`)
	case method == "token" && identity.Token.ID == "":
		return lacre.FieldErrorf(lacre.CodeMissing, "auth.identity.token.id", "expected a token")
	case method == "password" && user.ID == "" && (user.Name == "" || user.Domain == reference{}):
		return lacre.FieldErrorf(lacre.CodeMissing, "auth.identity.password.user", "expected an id, or a name and a domain")
	case method == "password" && user.Password == "":
		return lacre.FieldErrorf(lacre.CodeMissing, "auth.identity.password.user.password", "expected a password")
	}
	return q.Auth.Scope.check()
}

// method is the one method asked for, empty when there are none or several.
func (q *tokenRequest) method() string {
	if m := q.Auth.Identity.Methods; len(m) == 1 {
		return m[0]
	}
	return ""
}

func (s *scope) check() error {
	switch {
	case s.Project != nil && s.Domain != nil:
		return lacre.FieldErrorf(lacre.CodeInvalidField, "auth.scope", "expected a project or a domain, not both")
	case s.Project != nil && s.Project.reference == reference{}:
		return lacre.FieldErrorf(lacre.CodeMissing, "auth.scope.project", "expected an id or a name")
	case s.Domain != nil && *s.Domain == reference{}:
		return lacre.FieldErrorf(lacre.CodeMissing, "auth.scope.domain", "expected an id or a name")
	}
	return nil
}
