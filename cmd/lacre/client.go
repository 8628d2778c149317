package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Credentials is DIR/credentials.json: what the first start made up.
type Credentials struct {
	ProjectID  string `json:"project_id"`
	InstanceID string `json:"instance_id"`
	DomainName string `json:"domain_name"`
	UserName   string `json:"user_name"`
	Password   string `json:"password"`
	AccessKey  string `json:"access_key"` // AK and SK sign requests instead of a token
	SecretKey  string `json:"secret_key"`
}

// Endpoints is DIR/endpoints.json: where a running node answers.
type Endpoints struct {
	APIURL       string `json:"api_url"`
	EdgeAddr     string `json:"edge_addr"`
	EdgeHTTPAddr string `json:"edge_http_addr"`
	MetricsURL   string `json:"metrics_url"`
}

// target says which API the command talks to and as whom.
type target struct {
	DataDir  string
	APIURL   string
	APICA    string
	Project  string
	Account  string
	User     string
	Password string // from the environment or credentials.json only, never a flag
	Token    string
	Identity bool // for identity calls, which need neither a project nor a role in one
}

func (t *target) flags(f *pflag.FlagSet) {
	f.StringVar(&t.DataDir, "data-dir", "", "take address and credentials from this data directory of a local lacre")
	f.StringVar(&t.APIURL, "api-url", "", "address of the API, such as https://lacre.internal:8080")
	f.StringVar(&t.APICA, "api-ca", "", "file with the CA certificates of the API's own certificate")
	f.StringVar(&t.Project, "project-id", "", "project id")
	f.StringVar(&t.Account, "domain-name", "", "account (IAM domain) of the user")
	f.StringVar(&t.User, "user", "", "user name; the password comes from LACRE_PASSWORD, or a token from LACRE_TOKEN")
}

// complete adds what flags and variables left open from the data directory.
func (t *target) complete(env map[string]string) error {
	t.Password, t.Token = env["LACRE_PASSWORD"], env["LACRE_TOKEN"]
	if t.DataDir != env["LACRE_DATA_DIR"] && t.APIURL == env["LACRE_API_URL"] {
		t.APIURL = "" // --data-dir says which lacre is meant, whatever the variable says
	}
	if t.DataDir != "" {
		if err := t.fromDataDir(); err != nil {
			return err
		}
	}
	known := t.APIURL != "" && (t.Token != "" || t.User != "" && t.Password != "")
	switch {
	case t.Identity && !known:
		return hinted{usagef("no API address or credentials"),
			"give --data-dir, or LACRE_API_URL, LACRE_DOMAIN_NAME, LACRE_USER and LACRE_PASSWORD (or LACRE_TOKEN)"}
	case !t.Identity && (!known || t.Project == ""):
		return hinted{usagef("no API address, project or credentials"),
			"give --data-dir, or LACRE_API_URL, LACRE_PROJECT_ID, LACRE_DOMAIN_NAME, LACRE_USER and LACRE_PASSWORD (or LACRE_TOKEN)"}
	}
	return nil
}

func (t *target) fromDataDir() error {
	var c Credentials
	var e Endpoints
	// Operators delete the credentials once they have them elsewhere: flags and variables
	// have to say the rest then.
	if err := readJSON(filepath.Join(t.DataDir, credentialsFile), &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := readJSON(filepath.Join(t.DataDir, endpointsFile), &e); err != nil {
		return err
	}
	for _, set := range []struct {
		to   *string
		from string
	}{{&t.APIURL, e.APIURL}, {&t.Project, c.ProjectID}, {&t.Account, c.DomainName}, {&t.User, c.UserName}} {
		if *set.to == "" {
			*set.to = set.from
		}
	}
	if t.Password == "" && t.User == c.UserName { // it is nobody else's
		t.Password = c.Password
	}
	return nil
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return hinted{err, "is that the data directory of a lacre that has been started, and has loaded everything?"}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// client calls the certificate API with a token.
type client struct {
	http  *http.Client
	base  string // API URL without the project path
	root  string // base + /v2/{project}/apic
	token string
	talk  io.Writer // where the API's warnings go
}

// connect logs in unless a token was given.
func connect(ctx context.Context, t target, talk io.Writer) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxParallel
	if t.APICA != "" {
		pool, err := readPool(x509.NewCertPool(), t.APICA)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	base := strings.TrimRight(t.APIURL, "/")
	c := &client{http: &http.Client{Transport: transport, Timeout: time.Minute}, base: base,
		root: base + "/v2/" + url.PathEscape(t.Project) + "/apic", token: t.Token, talk: talk}
	if c.token != "" {
		return c, nil
	}
	return c, c.login(ctx, t)
}

// login asks for a token, scoped to the project unless it is for identity calls (IAM: POST
// /v3/auth/tokens).
func (c *client) login(ctx context.Context, t target) error {
	user := map[string]any{"name": t.User, "password": t.Password, "domain": map[string]any{"name": t.Account}}
	auth := map[string]any{"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}}}
	if !t.Identity {
		auth["scope"] = map[string]any{"project": map[string]any{"id": t.Project}}
	}
	header, err := c.do(ctx, http.MethodPost, c.base+"/v3/auth/tokens", map[string]any{"auth": auth}, nil)
	if err != nil {
		return fmt.Errorf("logging in as %s: %w", t.User, err)
	}
	if c.token = header.Get("X-Subject-Token"); c.token == "" {
		return errors.New("logging in: the answer has no X-Subject-Token; is this a lacre API?")
	}
	return nil
}

// call sends body to a path below the project and reads the answer into out.
func (c *client) call(ctx context.Context, method, path string, body, out any) error {
	header, err := c.do(ctx, method, c.root+path, body, out)
	if err != nil {
		return err
	}
	for _, w := range header.Values("X-Lacre-Warning") {
		fmt.Fprintf(c.talk, "warning: %s\n", printable(w))
	}
	return nil
}

func (c *client) do(ctx context.Context, method, url string, body, out any) (http.Header, error) {
	return c.exchange(ctx, method, url, nil, body, out)
}

// exchange is do with a header of the request's own. The error of an answer that says no
// is a *refused.
func (c *client) exchange(ctx context.Context, method, url string, header http.Header, body, out any) (http.Header, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("X-Auth-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, hinted{err, whyNoAnswer(err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp, answer)
	}
	if out == nil || len(answer) == 0 {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(answer, out)
}

func whyNoAnswer(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "name the CA of the API's own certificate with --api-ca, and the API by a name the certificate has"
	}
	return "is lacre running there?"
}

// refused is an answer that says no.
type refused struct {
	status     int
	code       string        // such as APIG.2101; empty when the answer has none
	message    string        // in the API's own words, or IAM's
	request    string        // id of the request
	retryAfter time.Duration // 0 unless the API asks for patience
}

func (e *refused) Error() string {
	what := strings.TrimSpace(e.code + " " + e.message)
	if what == "" {
		return fmt.Sprintf("HTTP %d %s", e.status, http.StatusText(e.status))
	}
	return printable(fmt.Sprintf("%s (HTTP %d, request %s)", what, e.status, e.request))
}

func refusal(resp *http.Response, answer []byte) error {
	var e struct {
		Code  string `json:"error_code"`
		Msg   string `json:"error_msg"`
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	out := &refused{status: resp.StatusCode, request: resp.Header.Get("X-Request-Id")}
	if json.Unmarshal(answer, &e) == nil {
		out.code, out.message = e.Code, e.Msg+e.Error.Message
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		out.retryAfter = time.Duration(min(seconds, 60)) * time.Second
	}
	return out
}
