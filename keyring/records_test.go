package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lacre/keyring"
)

// records is a Wrapped in memory that counts reads and fails on demand.
type records struct {
	mu       sync.Mutex
	secrets  map[string][]byte
	dataKeys map[string][]byte
	reads    int
	fail     error // every call answers it
	// lost makes every Create do its work and then answer fail.
	lost bool
}

func newRecords() *records {
	return &records{secrets: map[string][]byte{}, dataKeys: map[string][]byte{}}
}

func (r *records) Secret(ctx context.Context, name string) ([]byte, error) {
	return r.read(ctx, r.secrets, name)
}

func (r *records) DataKey(ctx context.Context, projectID string) ([]byte, error) {
	return r.read(ctx, r.dataKeys, projectID)
}

func (r *records) CreateSecret(ctx context.Context, name string, value []byte) ([]byte, error) {
	return r.create(ctx, r.secrets, name, value)
}

func (r *records) CreateDataKey(ctx context.Context, projectID string, wrapped []byte) ([]byte, error) {
	return r.create(ctx, r.dataKeys, projectID, wrapped)
}

func (r *records) read(ctx context.Context, from map[string][]byte, key string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	if r.fail != nil && !r.lost {
		return nil, r.fail
	}
	return bytes.Clone(from[key]), ctx.Err()
}

func (r *records) create(ctx context.Context, in map[string][]byte, key string, value []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil && !r.lost {
		return nil, r.fail
	}
	if in[key] == nil {
		in[key] = bytes.Clone(value)
	}
	if r.fail != nil {
		return nil, r.fail
	}
	return bytes.Clone(in[key]), ctx.Err()
}

func (r *records) countReads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads
}

// everything returns all that a thief of the store would hold.
func (r *records) everything() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Join(slices.Concat(slices.Collect(maps.Values(r.secrets)), slices.Collect(maps.Values(r.dataKeys))), nil)
}

func randomText(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func unlock(t *testing.T, source string, r *records) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Unlock(t.Context(), source, r)
	if err != nil {
		t.Fatalf("Unlock(%s) error = %v, want nil", source, err)
	}
	return k
}

func newKeyring(t *testing.T) (*keyring.Keyring, *records) {
	t.Helper()
	r := newRecords()
	return unlock(t, "file:"+filepath.Join(t.TempDir(), "master.key"), r), r
}

func seal(t *testing.T, k *keyring.Keyring, project, plaintext, binding string) []byte {
	t.Helper()
	sealed, err := k.Seal(t.Context(), project, []byte(plaintext), []byte(binding))
	if err != nil {
		t.Fatalf("Seal error = %v, want nil", err)
	}
	return sealed
}

// mustNotContain fails when any form of secret is in text: as it is, hex, base64.
func mustNotContain(t *testing.T, what string, text, secret []byte) {
	t.Helper()
	forms := map[string]string{
		"raw":    string(secret),
		"hex":    fmt.Sprintf("%x", secret),
		"HEX":    fmt.Sprintf("%X", secret),
		"base64": strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "="),
		"url64":  base64.RawURLEncoding.EncodeToString(secret),
		"list":   strings.Trim(fmt.Sprint(secret), "[]"),
	}
	for form, s := range forms {
		if strings.Contains(string(text), s) {
			t.Errorf("%s contains the secret (%s)", what, form)
		}
	}
}
