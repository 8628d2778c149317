package lacre_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
	"lacre/keyring"
	"lacre/store"
)

// The store and the keyring are real and shared by all tests: each test has a project of
// its own in them.
var (
	sharedStore  *store.Store
	sharedSealer *keyring.Keyring
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "lacre-service-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if sharedStore, err = store.Embedded(ctx, store.EmbeddedConfig{Dir: filepath.Join(dir, "store")}); err != nil {
		panic(err)
	}
	defer sharedStore.Close()
	if sharedSealer, err = keyring.Unlock(ctx, "file:"+filepath.Join(dir, "master.key"), sharedStore); err != nil {
		panic(err)
	}
	return m.Run()
}

// world is a Service over the real parts, with a project of its own. Its methods act as
// the project's administrator and end the test when what they set up is refused.
type world struct {
	*lacre.Service
	t       *testing.T
	tap     *tap
	log     *trail
	admin   lacre.Caller
	project string
	ca      *testcert.CA
}

func newWorld(t *testing.T, edits ...func(*lacre.Config)) *world {
	t.Helper()
	w := &world{t: t, tap: newTap(sharedStore), log: &trail{}, project: lacre.NewID(), ca: testcert.NewCA(t, "Test CA")}
	c := lacre.Config{
		Store: w.tap, Sealer: sharedSealer, Now: ticking(), InstancesPerProject: 1000,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&c)
	}
	w.Service = lacre.NewService(c)
	w.admin = w.caller(lacre.RoleAdmin)
	return w
}

// ticking is a clock that moves by a millisecond each time it is read.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := time.Now().Truncate(time.Second)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
}

// trail collects what is logged.
type trail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *trail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *trail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (w *world) caller(role lacre.Role) lacre.Caller {
	return lacre.Caller{
		UserID: "user-" + string(role), UserName: string(role), ProjectID: w.project, Role: role,
		RequestID: "request-1", Source: "192.0.2.7:4711",
	}
}

// wantCode checks the code of an error, and that it quotes nothing uploaded.
func wantCode(t testing.TB, err error, want lacre.Code) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("got no error, want code %q", want)
	case lacre.CodeOf(err) != want:
		t.Errorf("got code %q (%v), want %q", lacre.CodeOf(err), err, want)
	case strings.Contains(err.Error(), "-----"):
		t.Errorf("the error quotes PEM: %v", err)
	}
}

// wantField is wantCode for errors that name a field.
func wantField(t testing.TB, err error, want lacre.Code, field string) {
	t.Helper()
	wantCode(t, err, want)
	if got := fieldOf(err); got != field {
		t.Errorf("got field %q (%v), want %q", got, err, field)
	}
}

func fieldOf(err error) string {
	e, _ := errors.AsType[*lacre.Error](err)
	if e == nil {
		return ""
	}
	return e.Field
}

// ok ends the test on an error.
func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("got error %v, want none", err)
	}
}

// upload is a new ECC leaf for hosts.
func (w *world) upload(name string, hosts ...string) lacre.CertificateInput {
	w.t.Helper()
	return input(name, w.ca.Leaf(w.t, hosts))
}

// uploadRSA is a new RSA leaf for hosts.
func (w *world) uploadRSA(name string, hosts ...string) lacre.CertificateInput {
	w.t.Helper()
	return input(name, w.ca.Leaf(w.t, hosts, testcert.WithRSA(2048)))
}

func input(name string, leaf *testcert.Leaf) lacre.CertificateInput {
	return lacre.CertificateInput{Name: name, CertContent: leaf.ChainPEM(), PrivateKey: lacre.Secret(leaf.KeyPEM())}
}

// trusting is in with the world's CA as trust root.
func (w *world) trusting(in lacre.CertificateInput) lacre.CertificateInput {
	in.TrustedRootCA = new(w.ca.PEM())
	return in
}

// confined is in for one instance.
func confined(in lacre.CertificateInput, instance *lacre.Instance) lacre.CertificateInput {
	in.Scope, in.InstanceID = lacre.ScopeInstance, instance.ID
	return in
}

// in is the same world in a subtest.
func (w *world) in(t *testing.T) *world {
	next := *w
	next.t = t
	return &next
}

func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
