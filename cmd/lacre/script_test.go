package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lacre/internal/testcert"
)

// TestScripts runs the user stories of testdata, each against the real program.
func TestScripts(t *testing.T) {
	s := stories{t, testcert.NewCA(t, "Throw-away CA")}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": s.ready, "address": s.address, "leaf": s.leaf, "dual": s.dual, "crl": s.crl, "mode": s.mode, "exits": s.exits, "served": s.served, "bind": s.bind, "identify": s.identify, "waitfor": s.waitfor, "changed": s.changed, "signal": s.signal,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv(raceVariable, raceOptions)
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// stories has what scripts can say beyond testscript's own commands.
type stories struct {
	t  *testing.T
	ca *testcert.CA
}

func (stories) args(ts *testscript.TestScript, neg bool, args []string, usage string, least, most int) {
	if neg || len(args) < least || len(args) > most {
		ts.Fatalf("usage: %s", usage)
	}
}

// ready waits until the serve of a data directory can serve.
func (s stories) ready(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "ready DIR", 1, 1)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool()}}}
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		var e Endpoints
		if readJSON(ts.MkAbs(args[0]+"/"+endpointsFile), &e) != nil {
			continue
		}
		if resp, err := client.Get(e.APIURL + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("the serve of %s is not ready within %v", args[0], patience)
}

// address sets a variable to an address of endpoints.json.
func (s stories) address(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "address DIR api|edge|edge-http VARIABLE", 3, 3)
	var e Endpoints
	ts.Check(readJSON(ts.MkAbs(args[0]+"/"+endpointsFile), &e))
	u, err := url.Parse(e.APIURL)
	ts.Check(err)
	ts.Setenv(args[2], map[string]string{"api": u.Host, "edge": e.EdgeAddr, "edge-http": e.EdgeHTTPAddr}[args[1]])
}

// leaf writes NAME.pem and NAME.key, and the CA's ca.pem.
func (s stories) leaf(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "leaf NAME HOST...", 2, 9)
	leaf := s.ca.Leaf(s.t, args[1:])
	for name, text := range map[string]string{args[0] + ".pem": leaf.ChainPEM(), args[0] + ".key": leaf.KeyPEM(), "ca.pem": s.ca.PEM()} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// dual writes the encryption pair NAME-enc.pem and .key, and NAME-sign.pem and .key, of an
// SM2 CA in NAME-ca.pem.
func (s stories) dual(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "dual NAME HOST...", 2, 9)
	ca := testcert.NewCA(s.t, "Throw-away SM2 CA", testcert.WithSM2())
	d, name := ca.Dual(s.t, args[1:]), args[0]
	for name, text := range map[string]string{
		name + "-enc.pem": d.Enc.ChainPEM(), name + "-enc.key": d.Enc.KeyPEM(), name + "-ca.pem": ca.PEM(),
		name + "-sign.pem": d.Sign.ChainPEM(), name + "-sign.key": d.Sign.KeyPEM(),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// crl writes NAME.crl (PEM) and NAME.der of the CA, with the leaves of files on it.
func (s stories) crl(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "crl NAME FILE...", 1, 9)
	var revoked []*x509.Certificate
	for _, file := range args[1:] {
		block, _ := pem.Decode([]byte(ts.ReadFile(file)))
		leaf, err := x509.ParseCertificate(block.Bytes)
		ts.Check(err)
		revoked = append(revoked, leaf)
	}
	der := s.ca.CRL(s.t, revoked)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crl"), []byte(testcert.CRLPEM(der)), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".der"), der, 0o600))
}

// mode compares the permissions of a file.
func (s stories) mode(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "mode MODE FILE", 2, 2)
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got != fs.FileMode(want) {
		ts.Fatalf("%s: got mode %04o, want %04o", args[1], got, want)
	}
}

// exits runs a program that must end with that code.
func (s stories) exits(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "exits CODE PROGRAM [ARG...]", 2, 99)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = failed.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("got exit code %d, want %s", got, args[0])
	}
}

// served makes a handshake with the edge and compares the leaf with that of a file.
func (s stories) served(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "served DIR HOST FILE", 3, 3)
	var e Endpoints
	ts.Check(readJSON(ts.MkAbs(args[0]+"/"+endpointsFile), &e))
	c, err := tls.Dial("tcp", e.EdgeAddr, &tls.Config{ServerName: args[1], RootCAs: s.ca.Pool()})
	ts.Check(err)
	defer c.Close()
	if got := testcert.CertPEM(c.ConnectionState().PeerCertificates[0]); !bytes.Contains([]byte(ts.ReadFile(args[2])), []byte(got)) {
		ts.Fatalf("%s is served another certificate than %s", args[1], args[2])
	}
}

// identify sets a variable to the id of a certificate.
func (s stories) identify(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "identify DIR CERTIFICATE-NAME VARIABLE", 3, 3)
	cert, err := s.session(ts, args[0]).find(context.Background(), args[1])
	ts.Check(err)
	ts.Setenv(args[2], cert.ID)
}

// session is one of the first administrator.
func (stories) session(ts *testscript.TestScript, dir string) *session {
	at := target{DataDir: ts.MkAbs(dir)}
	ts.Check(at.complete(nil))
	c, err := connect(context.Background(), at, io.Discard)
	ts.Check(err)
	return &session{target: at, client: c}
}

// bind makes a group with one domain that has a certificate.
func (s stories) bind(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "bind DIR HOST CERTIFICATE-NAME", 3, 3)
	var home Credentials
	dir := ts.MkAbs(args[0])
	ts.Check(readJSON(filepath.Join(dir, credentialsFile), &home))
	ctx := context.Background()
	session := s.session(ts, dir)
	cert, err := session.find(ctx, args[2])
	ts.Check(err)
	var group, domain struct {
		ID string `json:"id"`
	}
	groups := "/instances/" + home.InstanceID + "/api-groups"
	ts.Check(session.call(ctx, http.MethodPost, groups, map[string]any{"name": "group_" + args[2]}, &group))
	domains := groups + "/" + group.ID + "/domains"
	ts.Check(session.call(ctx, http.MethodPost, domains, map[string]any{"url_domain": args[1]}, &domain))
	ts.Check(session.call(ctx, http.MethodPost, domains+"/"+domain.ID+"/certificates/attach",
		map[string]any{"certificate_ids": []string{cert.ID}}, nil))
}

// waitfor waits until a file of that pattern is there.
func (s stories) waitfor(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "waitfor PATTERN", 1, 1)
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		if found, err := filepath.Glob(ts.MkAbs(args[0])); err == nil && len(found) > 0 {
			return
		}
	}
	ts.Fatalf("%s is not there within %v", args[0], patience)
}

// changed waits until all that is stored is under the master key.
func (s stories) changed(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "changed DIR", 1, 1)
	var e Endpoints
	ts.Check(readJSON(ts.MkAbs(args[0]+"/"+endpointsFile), &e))
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(e.APIURL + "/metrics")
		ts.Check(err)
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if bytes.Contains(text, []byte("\nlacre_master_key_changed 1\n")) {
			return
		}
	}
	ts.Fatalf("the master key of %s is not changed within %v", args[0], patience)
}

// signal sends a signal to the serve that has a data directory.
func (s stories) signal(ts *testscript.TestScript, neg bool, args []string) {
	s.args(ts, neg, args, "signal HUP|INT|TERM DIR", 2, 2)
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1] + "/lock")))
	ts.Check(err)
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM}
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}
