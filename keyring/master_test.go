package keyring_test

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lacre/keyring"
)

func writeKeyFile(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestAFreshStoreGetsAKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	unlock(t, "file:"+path, newRecords())
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.FileMode(0o600); got != want {
		t.Errorf("key file mode = %v, want %v", got, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := base64.StdEncoding.DecodeString(string(text)); err != nil || len(key) != 32 {
		t.Errorf("key file holds %d bytes of base64 (error %v), want 32", len(key), err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("the directory holds %v, want the key file only", names)
	}
}

func TestTwoFreshStoresGetDifferentKeys(t *testing.T) {
	first, second := newRecords(), newRecords()
	unlock(t, "file:"+filepath.Join(t.TempDir(), "k"), first)
	source := "file:" + filepath.Join(t.TempDir(), "k")
	unlock(t, source, second)
	if _, err := keyring.Unlock(t.Context(), source, first); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("Unlock with another store's key: error = %v, want ErrWrongMasterKey", err)
	}
}

// A crash between the file and the key check leaves a file that the next start takes.
func TestAnExistingFileIsTakenByAFreshStore(t *testing.T) {
	text := randomText(t, 32)
	path := writeKeyFile(t, text+"\n", 0o400)
	unlock(t, "file:"+path, newRecords())
	if got, _ := os.ReadFile(path); string(got) != text+"\n" {
		t.Error("Unlock changed a key file that was there")
	}
}

func TestAMissingFileIsNotReplacedOnceTheStoreIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	unlock(t, "file:"+path, r)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := keyring.Unlock(t.Context(), "file:"+path, r)
	if !errors.Is(err, keyring.ErrMasterKeyMissing) || !strings.Contains(err.Error(), path) {
		t.Errorf("Unlock error = %v, want ErrMasterKeyMissing naming %s", err, path)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new key file appeared (stat error %v)", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	unlock(t, "file:"+path, r)
}

func TestTheWrongKeyIsRefused(t *testing.T) {
	r := newRecords()
	unlock(t, "file:"+writeKeyFile(t, randomText(t, 32), 0o600), r)
	before := string(r.everything())
	_, err := keyring.Unlock(t.Context(), "file:"+writeKeyFile(t, randomText(t, 32), 0o600), r)
	if !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("Unlock error = %v, want ErrWrongMasterKey", err)
	}
	if string(r.everything()) != before {
		t.Error("a refused key changed the store")
	}
}

func TestADamagedKeyCheckIsRefused(t *testing.T) {
	source := "file:" + writeKeyFile(t, randomText(t, 32), 0o600)
	r := newRecords()
	k := unlock(t, source, r)
	if _, err := k.Secret(t.Context(), "other", func() ([]byte, error) { return []byte("x"), nil }); err != nil {
		t.Fatal(err)
	}
	whole := r.secrets["keycheck"]
	for i := range whole {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 1
		r.secrets["keycheck"] = damaged
		if _, err := keyring.Unlock(t.Context(), source, r); !errors.Is(err, keyring.ErrWrongMasterKey) {
			t.Errorf("Unlock with byte %d of the key check flipped: error = %v, want ErrWrongMasterKey", i, err)
		}
	}
	r.secrets["keycheck"] = r.secrets["other"]
	if _, err := keyring.Unlock(t.Context(), source, r); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("Unlock with another secret as key check: error = %v, want ErrWrongMasterKey", err)
	}
}

func TestFilesOpenToOthersAreRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o644, 0o620, 0o610} {
		path := writeKeyFile(t, randomText(t, 32), mode)
		_, err := keyring.Unlock(t.Context(), "file:"+path, newRecords())
		if !errors.Is(err, keyring.ErrExposedMasterKey) {
			t.Errorf("Unlock with mode %04o: error = %v, want ErrExposedMasterKey", mode, err)
		}
	}
}

func TestBadKeyTextIsRefusedAndNotRepeated(t *testing.T) {
	tests := map[string]string{
		"empty":     "",
		"short":     randomText(t, 31),
		"long":      randomText(t, 33),
		"not text":  "\xff\xfe" + randomText(t, 32),
		"huge":      randomText(t, 10_000),
		"PEM":       "-----BEGIN PRIVATE KEY-----\n" + randomText(t, 32) + "\n-----END PRIVATE KEY-----\n",
		"two lines": randomText(t, 32) + "\n" + randomText(t, 32),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LACRE_TEST_KEY", text)
			path := writeKeyFile(t, text, 0o600)
			for _, source := range []string{"file:" + path, "env:LACRE_TEST_KEY"} {
				r := newRecords()
				_, err := keyring.Unlock(t.Context(), source, r)
				if err == nil {
					t.Fatalf("Unlock(%s) succeeded", source)
				}
				if text != "" && strings.Contains(err.Error(), strings.TrimSpace(text)) {
					t.Errorf("the error repeats what was read: %v", err)
				}
				if len(r.secrets) != 0 {
					t.Error("a refused key left a key check")
				}
			}
		})
	}
}

func TestKeyFromTheEnvironment(t *testing.T) {
	t.Setenv("LACRE_TEST_KEY", " "+randomText(t, 32)+"\n")
	r := newRecords()
	sealed := seal(t, unlock(t, "env:LACRE_TEST_KEY", r), "p", "x", "b")
	if _, err := unlock(t, "env:LACRE_TEST_KEY", r).Open(t.Context(), "p", sealed, []byte("b")); err != nil {
		t.Errorf("Open after a restart: %v", err)
	}
	if err := os.Unsetenv("LACRE_TEST_KEY"); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Unlock(t.Context(), "env:LACRE_TEST_KEY", r); !errors.Is(err, keyring.ErrMasterKeyMissing) {
		t.Errorf("Unlock without the variable: error = %v, want ErrMasterKeyMissing", err)
	}
}

// The same key is the same wherever it comes from.
func TestAKeyMayMoveBetweenSources(t *testing.T) {
	text := randomText(t, 32)
	t.Setenv("LACRE_TEST_KEY", text)
	r := newRecords()
	unlock(t, "env:LACRE_TEST_KEY", r)
	unlock(t, "file:"+writeKeyFile(t, text, 0o600), r)
}

func TestUnknownSources(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "t")
	for _, source := range []string{
		"", "file:", "env:", "file", "/etc/lacre.key", "awskms://key", "hcvault:", "hcvault://",
		"hcvault:///transit/keys/k", "hcvault://host/transit/k", "hcvault://user:pass@host/transit/keys/k",
	} {
		if _, err := keyring.Unlock(t.Context(), source, newRecords()); err == nil {
			t.Errorf("Unlock(%q) succeeded, want an error", source)
		}
	}
}

func TestKeyFileMustBeAFileInADirectory(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "master.key")} {
		if _, err := keyring.Unlock(t.Context(), "file:"+path, newRecords()); err == nil {
			t.Errorf("Unlock(file:%s) succeeded, want an error", path)
		}
	}
}
