package edge_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

// tongsuo is the client of Tongsuo, the OpenSSL that speaks TLCP (which it calls NTLS).
type tongsuo struct {
	*testing.T
	binary, dir string
	ca          *testcert.CA // which it trusts
}

// newTongsuo needs the openssl program of Tongsuo, which no package has.
func newTongsuo(t *testing.T) *tongsuo {
	t.Helper()
	binary := os.Getenv("LACRE_TONGSUO")
	if binary == "" {
		t.Skip("LACRE_TONGSUO names no openssl program of Tongsuo; docs/sm2.md says how to build one")
	}
	version, err := exec.Command(binary, "version").Output()
	if err != nil || !strings.HasPrefix(string(version), "Tongsuo") {
		t.Fatalf("LACRE_TONGSUO: got %q, %v, want a version of Tongsuo", version, err)
	}
	t.Logf("%s", version)
	o := &tongsuo{t, binary, t.TempDir(), testcert.NewCA(t, "SM2 root", testcert.WithSM2())}
	o.file("ca.pem", o.ca.PEM())
	return o
}

func (o *tongsuo) file(name, content string) string {
	o.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		o.Fatal(err)
	}
	return path
}

// showing are the options with which it shows a pair.
func (o *tongsuo) showing(name string, d *testcert.Dual) []string {
	o.Helper()
	return []string{
		"-sign_cert", o.file(name+"-sign.pem", d.Sign.CertPEM()), "-sign_key", o.file(name+"-sign.key", d.Sign.KeyPEM()),
		"-enc_cert", o.file(name+"-enc.pem", d.Enc.CertPEM()), "-enc_key", o.file(name+"-enc.key", d.Enc.KeyPEM()),
	}
}

// get makes a handshake for host, verifying the server, and a request. It returns what
// s_client prints: about the handshake, and the answer.
func (o *tongsuo) get(w *world, host string, options ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	args := append([]string{
		"s_client", "-enable_ntls", "-ntls", "-connect", w.addr, "-servername", host, "-verify_hostname", host,
		"-CAfile", filepath.Join(o.dir, "ca.pem"), "-verify_return_error", "-ign_eof",
	}, options...)
	cmd := exec.CommandContext(ctx, o.binary, args...)
	cmd.Stdin = strings.NewReader("GET /hello HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	out, _ := cmd.CombinedOutput() // how it went is read from what it prints
	return string(out)
}

// world is an edge with a domain whose SM2 certificate is of the CA that it trusts, and
// another that verifies clients of clients.
func (o *tongsuo) world(clients *testcert.CA) (*world, *lacre.Certificate) {
	w := newWorld(o.T)
	up := backend(o.T, func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "the upstream got "+r.URL.Path+" by "+r.Header.Get("X-Forwarded-Proto"))
	})
	dual := func(host string, roots ...*testcert.CA) *lacre.Certificate {
		return w.dual(o.ca.Dual(o.T, []string{host}), roots...)
	}
	open := dual("open.example.com")
	w.domain("open.example.com", []*lacre.Certificate{open}, upstream(up.URL))
	w.domain("auth.example.com", []*lacre.Certificate{dual("auth.example.com", clients)}, upstream(up.URL), verifyClients)
	return w, open
}

const upstreamAnswer = "the upstream got /hello by https"

// TestTongsuoClient: the suites with and without client certificates, requests through the
// proxy, and resumption by ticket and by session ID.
func TestTongsuoClient(t *testing.T) {
	o := newTongsuo(t)
	clients := testcert.NewCA(t, "SM2 clients", testcert.WithSM2())
	w, _ := o.world(clients)
	good := o.showing("good", clients.Dual(t, []string{"good"}))
	bad := o.showing("bad", testcert.NewCA(t, "others", testcert.WithSM2()).Dual(t, []string{"bad"}))
	for _, suite := range []string{"ECC-SM2-SM4-GCM-SM3", "ECC-SM2-SM4-CBC-SM3", "ECDHE-SM2-SM4-GCM-SM3", "ECDHE-SM2-SM4-CBC-SM3"} {
		ecdhe := strings.HasPrefix(suite, "ECDHE")
		for _, test := range []struct {
			name, host string
			client     []string
			want       bool
		}{
			{"no client certificate is asked for", "open.example.com", nil, !ecdhe},
			{"a client certificate", "auth.example.com", good, true},
			{"none where one is demanded", "auth.example.com", nil, false},
			{"one of another CA", "auth.example.com", bad, false},
		} {
			out := o.get(w, test.host, append(test.client, "-cipher", suite)...)
			if got := strings.Contains(out, upstreamAnswer) && strings.Contains(out, "Cipher is "+suite); got != test.want {
				t.Errorf("%s, %s: got an answer %t, want %t:\n%s", suite, test.name, got, test.want, out)
			}
			if !test.want {
				continue
			}
			for by, option := range map[string][]string{"ticket": nil, "session ID": {"-no_ticket"}} {
				o.resumes(w, test.host, suite+", "+test.name+", by "+by, append(append(test.client, "-cipher", suite), option...))
			}
		}
	}
	if out := o.get(w, "unknown.example.com"); strings.Contains(out, upstreamAnswer) || !strings.Contains(out, "alert number 112") {
		t.Errorf("an unknown host: got %s, want unrecognized_name", out)
	}
}

// resumes makes two handshakes, the second of which must resume.
func (o *tongsuo) resumes(w *world, host, what string, options []string) {
	o.Helper()
	session := filepath.Join(o.dir, "session.pem")
	for _, step := range []struct{ option, says string }{{"-sess_out", "New, "}, {"-sess_in", "Reused, "}} {
		out := o.get(w, host, append(options[:len(options):len(options)], step.option, session)...)
		if !strings.Contains(out, step.says) || !strings.Contains(out, upstreamAnswer) {
			o.Errorf("%s, %s: got %s\nwant %q and an answer", what, step.option, out, step.says)
		}
	}
}

// TestTongsuoRotation: both pairs are replaced while Tongsuo's clients come; none fails.
func TestTongsuoRotation(t *testing.T) {
	o := newTongsuo(t)
	w, cert := o.world(o.ca)
	const host = "open.example.com"
	var clients sync.WaitGroup
	var answers, done atomic.Int64
	for range 2 {
		clients.Go(func() {
			for done.Load() == 0 {
				if out := o.get(w, host); !strings.Contains(out, upstreamAnswer) {
					t.Errorf("got no answer during a rotation:\n%s", out)
					return
				}
				answers.Add(1)
			}
		})
	}
	rotations := 0
	for ; answers.Load() < 40 && !t.Failed(); rotations++ {
		w.rotateDual(cert, o.ca.Dual(t, []string{host}))
	}
	done.Store(1)
	clients.Wait()
	t.Logf("%d requests in %d rotations", answers.Load(), rotations)
}
