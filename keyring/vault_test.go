package keyring_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lacre/keyring"
)

const vaultToken = "s.only-for-this-test"

// vault is the part of the transit engine's HTTP API that a master key needs: it
// really encrypts, really authenticates the associated data and really checks the token.
type vault struct {
	*httptest.Server
	keys  map[string]cipher.AEAD
	calls atomic.Int64
	hold  atomic.Pointer[chan struct{}] // requests wait until it is closed
	fail  atomic.Int64                  // status to answer, with the request in the body, as a broken proxy would
	lies  atomic.Int64                  // from the how manieth encryption on it encrypts something else; 0 for never
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{keys: map[string]cipher.AEAD{"lacre": newGCM(t), "other": newGCM(t)}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/transit/{action}/{name}", v.serve)
	v.Server = httptest.NewUnstartedServer(mux)
	v.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are expected
	v.StartTLS()
	t.Cleanup(v.Close)

	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_CACERT", ca)
	t.Setenv("VAULT_TOKEN", vaultToken)
	t.Setenv("VAULT_MAX_RETRIES", "0")
	t.Setenv("VAULT_ADDR", "https://192.0.2.1:1") // must not matter
	return v
}

func newGCM(t *testing.T) cipher.AEAD {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func (v *vault) source(key string) string {
	return "hcvault://" + strings.TrimPrefix(v.URL, "https://") + "/transit/keys/" + key
}

func (v *vault) serve(w http.ResponseWriter, r *http.Request) {
	v.calls.Add(1)
	if hold := v.hold.Load(); hold != nil {
		<-*hold
	}
	var body struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		Associated []byte `json:"associated_data"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	key := v.keys[r.PathValue("name")]
	status, data := http.StatusOK, map[string]any{}
	switch {
	case v.fail.Load() != 0:
		status, data["errors"] = int(v.fail.Load()), []string{base64.StdEncoding.EncodeToString(body.Plaintext)}
	case r.Header.Get("X-Vault-Token") != vaultToken:
		status, data["errors"] = http.StatusForbidden, []string{"permission denied"}
	case err != nil || key == nil:
		status, data["errors"] = http.StatusBadRequest, []string{"bad request"}
	case r.PathValue("action") == "encrypt":
		if v.lies.Load() > 0 && v.lies.Add(-1) == 0 {
			v.lies.Store(1)
			body.Plaintext[len(body.Plaintext)-1] ^= 1
		}
		sealed := key.Seal(nil, nil, body.Plaintext, body.Associated)
		data["data"] = map[string]string{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(sealed)}
	default:
		sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(body.Ciphertext, "vault:v1:"))
		plaintext, err := key.Open(nil, nil, sealed, body.Associated)
		if err != nil {
			status, data["errors"] = http.StatusBadRequest, []string{"cipher: message authentication failed"}
			break
		}
		data["data"] = map[string][]byte{"plaintext": plaintext}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(data)
}

func TestMasterKeyInVault(t *testing.T) {
	v := newVault(t)
	r := newRecords()
	k := unlock(t, v.source("lacre"), r)
	sealed := seal(t, k, "p", "x", "b")
	calls := v.calls.Load()
	for range 50 {
		seal(t, k, "p", "x", "b")
	}
	if got := v.calls.Load() - calls; got != 0 {
		t.Errorf("50 seals asked vault %d times, want 0", got)
	}
	restarted := unlock(t, v.source("lacre"), r)
	if got, err := restarted.Open(t.Context(), "p", sealed, []byte("b")); err != nil || string(got) != "x" {
		t.Errorf("Open after a restart = %q, %v, want x", got, err)
	}

	r.dataKeys["q"] = r.dataKeys["p"]
	if _, err := restarted.Open(t.Context(), "q", sealed, []byte("b")); !errors.Is(err, keyring.ErrAltered) {
		t.Errorf("Open under another project's data key: error = %v, want ErrAltered", err)
	}
}

func TestAnotherVaultKeyIsTheWrongMasterKey(t *testing.T) {
	v := newVault(t)
	r := newRecords()
	unlock(t, v.source("lacre"), r)
	if _, err := keyring.Unlock(t.Context(), v.source("other"), r); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("Unlock error = %v, want ErrWrongMasterKey", err)
	}
}

// Vault being away or saying no is not the wrong key, and not damage.
func TestVaultFaultsAreNotMistakenForDamage(t *testing.T) {
	v := newVault(t)
	r := newRecords()
	sealed := seal(t, unlock(t, v.source("lacre"), r), "p", "x", "b")
	k := unlock(t, v.source("lacre"), r) // has not met the project yet
	for _, status := range []int64{403, 404, 500, 503} {
		v.fail.Store(status)
		if _, err := keyring.Unlock(t.Context(), v.source("lacre"), r); err == nil || errors.Is(err, keyring.ErrWrongMasterKey) {
			t.Errorf("Unlock when vault answers %d: error = %v, want another than ErrWrongMasterKey", status, err)
		}
		if _, err := k.Open(t.Context(), "p", sealed, []byte("b")); err == nil || errors.Is(err, keyring.ErrAltered) {
			t.Errorf("Open when vault answers %d: error = %v, want another than ErrAltered", status, err)
		}
	}
	v.fail.Store(0)
	if _, err := k.Open(t.Context(), "p", sealed, []byte("b")); err != nil {
		t.Errorf("Open when vault is back: %v", err)
	}
}

func TestVaultTokens(t *testing.T) {
	v := newVault(t)
	t.Setenv("VAULT_TOKEN", "s.wrong")
	if _, err := keyring.Unlock(t.Context(), v.source("lacre"), newRecords()); err == nil {
		t.Error("Unlock with a wrong token succeeded")
	}
	t.Setenv("VAULT_TOKEN", "")
	if _, err := keyring.Unlock(t.Context(), v.source("lacre"), newRecords()); !errors.Is(err, keyring.ErrMasterKeyMissing) {
		t.Errorf("Unlock without a token: error = %v, want ErrMasterKeyMissing", err)
	}
}

func TestVaultMustProveItself(t *testing.T) {
	v := newVault(t)
	t.Setenv("VAULT_CACERT", "")
	if _, err := keyring.Unlock(t.Context(), v.source("lacre"), newRecords()); err == nil {
		t.Error("Unlock trusted a certificate of no known CA")
	}
	if got := v.calls.Load(); got != 0 {
		t.Errorf("an unproven vault was asked %d times, want 0", got)
	}
}

// TestDeadVaultHoldsNobody: who has waited long enough leaves, who comes next does not wait,
// and when Vault is back so are the keys.
func TestDeadVaultHoldsNobody(t *testing.T) {
	v := newVault(t)
	r := newRecords()
	k := unlock(t, v.source("lacre"), r)
	p, q := seal(t, k, "p", "x", "b"), seal(t, k, "q", "x", "b")
	k = unlock(t, v.source("lacre"), r)
	hold := make(chan struct{})
	v.hold.Store(&hold)
	within := func(patience time.Duration, project string, sealed []byte) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		begin := time.Now()
		_, err := k.Open(ctx, project, sealed, []byte("b"))
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Open took %v", took)
		}
		return err
	}
	if err := within(100*time.Millisecond, "p", p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open with a dead vault: error = %v, want that time is over", err)
	}
	if err := within(time.Minute, "q", q); err == nil || errors.Is(err, keyring.ErrAltered) {
		t.Errorf("the next Open: error = %v, want that vault does not answer", err)
	}
	v.hold.Store(nil)
	close(hold)
	for end := time.Now().Add(time.Minute); within(time.Second, "q", q) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("vault is back, the keys are not")
		}
	}
}
