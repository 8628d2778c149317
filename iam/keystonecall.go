package iam

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"lacre"
)

// Bounds of what Keystone may cost.
const (
	keystoneConnections = 32
	longestAnswer       = 1 << 20 // a token without its catalog has a few kB
)

// keystoneToken is what Keystone says about a token ("Validate and show information for
// token" of the identity API v3).
type keystoneToken struct {
	Expires time.Time       `json:"expires_at"`
	User    namedInAccount  `json:"user"`
	Project *namedInAccount `json:"project"` // nil when the scope is none, a domain or the system
	Roles   []named         `json:"roles"`
}

// errAsker means that Keystone does not accept the token in X-Auth-Token.
var errAsker = errors.New("keystone does not accept the token of the asker")

// unavailable is an error about Keystone, or our place in it, and not about the caller.
func unavailable(format string, args ...any) error {
	return &lacre.Error{Code: lacre.CodeIAMUnavailable, Message: "IAM", Err: fmt.Errorf(format, args...)}
}

// tokensURL is where the tokens of the Keystone at base are.
func tokensURL(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("expected the URL of keystone, such as https://keystone.internal:5000/v3") // it may have a password in it
	}
	return strings.TrimSuffix(strings.TrimSuffix(base, "/"), "/v3") + "/v3/auth/tokens", nil
}

// keystoneClient goes to Keystone and nowhere else: a redirect is an answer like others,
// or tokens would be sent to wherever it points.
func keystoneClient(c KeystoneConfig) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs},
			MaxConnsPerHost: keystoneConnections, MaxIdleConnsPerHost: keystoneConnections,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// validate returns what Keystone says about a token, CodeTokenInvalid when it is not
// valid, CodeIAMUnavailable when that could not be found out.
func (k *Keystone) validate(ctx context.Context, text string) (*keystoneToken, error) {
	if k.config.User == "" {
		t, err := k.show(ctx, text, text)
		if errors.Is(err, errAsker) {
			return nil, errInvalidToken
		}
		return t, err
	}
	pass, err := k.servicePass(ctx)
	if err != nil {
		return nil, err
	}
	t, err := k.show(ctx, pass, text)
	if !errors.Is(err, errAsker) {
		return t, err
	}
	k.pass.forget(pass) // it was revoked, or Keystone's keys have rotated
	if pass, err = k.servicePass(ctx); err != nil {
		return nil, err
	}
	if t, err = k.show(ctx, pass, text); errors.Is(err, errAsker) {
		k.breaker.open(k.now())
		return nil, unavailable("validating a token: %w", err)
	}
	return t, err
}

// show asks Keystone about a token. A 404 in Keystone's form says that the token is not
// valid; at a URL that is none of its calls it answers with a page.
func (k *Keystone) show(ctx context.Context, asker, subject string) (*keystoneToken, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.tokens+"?nocatalog", nil)
	if err != nil {
		return nil, unavailable("making a request: %w", err)
	}
	req.Header.Set("X-Auth-Token", asker)
	req.Header.Set("X-Subject-Token", subject)
	a, err := k.send(req)
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusOK:
		return readToken(a.body)
	case a.refuses(http.StatusUnauthorized):
		return nil, errAsker
	case a.refuses(http.StatusNotFound):
		return nil, errInvalidToken
	}
	return nil, unavailable("validating a token: keystone answered %d", a.status)
}

// readToken decodes a token. Errors do not repeat what cannot be understood.
func readToken(body []byte) (*keystoneToken, error) {
	var answer struct {
		Token *keystoneToken `json:"token"`
	}
	err := json.Unmarshal(body, &answer)
	if t := answer.Token; err != nil || t == nil || t.User.ID == "" || t.Expires.IsZero() || t.Project != nil && t.Project.ID == "" {
		return nil, unavailable("validating a token: keystone's answer is not a token")
	}
	return answer.Token, nil
}

// keystoneAnswer is an answer of Keystone, whole.
type keystoneAnswer struct {
	status int
	header http.Header
	body   []byte
}

// refuses tells whether it is Keystone that refuses with a status, and not a proxy before
// it or another server, which would not say it in Keystone's form.
func (a *keystoneAnswer) refuses(status int) bool {
	var problem struct {
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	return a.status == status && json.Unmarshal(a.body, &problem) == nil && problem.Error.Code == status
}

// send exchanges one request with Keystone, unless it is known not to answer.
func (k *Keystone) send(req *http.Request) (*keystoneAnswer, error) {
	if !k.breaker.admits(k.now()) {
		return nil, unavailable("keystone did not answer lately")
	}
	a, err := k.exchange(req)
	if err == nil && (a.status < http.StatusBadGateway || a.status > http.StatusGatewayTimeout) {
		k.breaker.succeeded()
		return a, nil
	}
	k.breaker.failed(k.now())
	if err != nil {
		return nil, unavailable("asking keystone: %w", err)
	}
	return nil, unavailable("asking keystone: a gateway answered %d", a.status)
}

func (k *Keystone) exchange(req *http.Request) (*keystoneAnswer, error) {
	ctx, cancel := context.WithTimeout(req.Context(), k.config.Timeout)
	defer cancel()
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > longestAnswer {
		body = nil // understood by nobody below
	}
	return &keystoneAnswer{resp.StatusCode, resp.Header, body}, nil
}

// servicePass is the token of the user that asks Keystone.
type servicePass struct {
	mu      sync.Mutex
	text    string
	until   time.Time
	signIns singleflight.Group
}

func (p *servicePass) current(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		return ""
	}
	return p.text
}

func (p *servicePass) set(text string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.until = text, until
}

// forget drops the token unless it has been replaced already.
func (p *servicePass) forget(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == text {
		p.text = ""
	}
}

// servicePass returns the service user's token and signs in for one when needed, once
// for all who wait.
func (k *Keystone) servicePass(ctx context.Context) (string, error) {
	if text := k.pass.current(k.now()); text != "" {
		return text, nil
	}
	text, err, _ := k.pass.signIns.Do("", func() (any, error) {
		if text := k.pass.current(k.now()); text != "" {
			return text, nil
		}
		return k.signIn(ctx)
	})
	if err != nil {
		return "", err
	}
	return text.(string), nil
}

// signIn gets a token for the service user. A refusal opens the breaker: Keystone may
// count wrong passwords.
func (k *Keystone) signIn(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.tokens+"?nocatalog", bytes.NewReader(k.signInRequest()))
	if err != nil {
		return "", unavailable("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	a, err := k.send(req)
	if err != nil {
		return "", err
	}
	text := a.header.Get("X-Subject-Token")
	if a.status != http.StatusCreated || text == "" || !tokenlike(text) {
		k.breaker.open(k.now())
		return "", unavailable("signing in as %q: keystone answered %d", k.config.User, a.status)
	}
	t, err := readToken(a.body)
	if err != nil {
		return "", err
	}
	k.pass.set(text, t.Expires.Add(-time.Minute))
	return text, nil
}

func (k *Keystone) signInRequest() []byte {
	type object = map[string]any
	domain := object{"name": k.config.UserDomain}
	body, err := json.Marshal(object{"auth": object{
		"identity": object{
			"methods":  []string{"password"},
			"password": object{"user": object{"name": k.config.User, "domain": domain, "password": string(k.config.Password)}},
		},
		"scope": object{"project": object{"name": k.config.Project, "domain": domain}},
	}})
	if err != nil {
		panic(err) // strings only
	}
	return body
}
