package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lacre/keyring"
)

// records is a Replaceable in memory that counts reads and writes and fails on demand.
type records struct {
	mu       sync.Mutex
	secrets  map[string][]byte
	dataKeys map[string][]byte
	reads    int
	writes   int
	revised  map[string]int64 // by kind and key; 1 unless said otherwise
	damaged  map[string]bool  // by the same: its checksum does not match
	before   func(n int)      // is told of the nth replacement before it is made; nil for nobody
	fail     error            // every call answers it
	// lost makes every Create do its work and then answer fail.
	lost bool
}

func newRecords() *records {
	return &records{secrets: map[string][]byte{}, dataKeys: map[string][]byte{}, revised: map[string]int64{}, damaged: map[string]bool{}}
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

func (r *records) SecretNames(ctx context.Context) ([]string, error) { return r.names(r.secrets) }

func (r *records) Sealers(ctx context.Context) ([]string, error) {
	ids, err := r.names(r.dataKeys)
	return append(ids, "has none"), err
}

func (r *records) names(in map[string][]byte) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(in)), r.fail
}

func (r *records) SecretAt(ctx context.Context, name string) ([]byte, int64, error) {
	return r.at(r.secrets, "secret", name)
}

func (r *records) DataKeyAt(ctx context.Context, id string) ([]byte, int64, error) {
	return r.at(r.dataKeys, "data key", id)
}

func (r *records) at(in map[string][]byte, kind, key string) ([]byte, int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.fail != nil:
		return nil, 0, r.fail
	case r.damaged[kind+key]:
		return nil, r.revision(in, kind, key), errors.New("its checksum does not match")
	}
	return bytes.Clone(in[key]), r.revision(in, kind, key), nil
}

func (r *records) revision(in map[string][]byte, kind, key string) int64 {
	if in[key] == nil {
		return 0
	}
	return max(1, r.revised[kind+key])
}

func (r *records) ReplaceSecret(ctx context.Context, name string, revision int64, value []byte, guard string, at int64) (bool, error) {
	return r.replace(ctx, r.secrets, "secret", name, revision, value, guard, at)
}

func (r *records) ReplaceDataKey(ctx context.Context, id string, revision int64, value []byte, guard string, at int64) (bool, error) {
	return r.replace(ctx, r.dataKeys, "data key", id, revision, value, guard, at)
}

func (r *records) replace(ctx context.Context, in map[string][]byte, kind, key string, revision int64, value []byte, guard string, at int64) (bool, error) {
	r.mu.Lock()
	r.writes++
	n, before := r.writes, r.before
	r.mu.Unlock()
	if before != nil {
		before(n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil && !r.lost {
		return false, r.fail
	}
	if r.revision(in, kind, key) != revision || r.revision(r.secrets, "secret", guard) != at {
		return false, r.fail
	}
	in[key], r.revised[kind+key] = bytes.Clone(value), revision+1
	return true, errors.Join(r.fail, ctx.Err())
}

// all are copies of what is stored.
func (r *records) all() (secrets, dataKeys map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.secrets), maps.Clone(r.dataKeys)
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

// readFile reads the key file of a source.
func readFile(t *testing.T, source string) []byte {
	t.Helper()
	text, err := os.ReadFile(strings.TrimPrefix(source, "file:"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exists is nil if there is the key file of a source.
func exists(source string) error {
	_, err := os.Stat(strings.TrimPrefix(source, "file:"))
	return err
}
