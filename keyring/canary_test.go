package keyring_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lacre/keyring"
)

// TestNothingSealedIsReadable seals a real private key in three forms and looks for any
// trace of it, and of the master key, in all that is stored and in every error.
func TestNothingSealedIsReadable(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})

	path := filepath.Join(t.TempDir(), "master.key")
	r := newRecords()
	k := unlock(t, "file:"+path, r)
	var seen []byte
	for _, plaintext := range [][]byte{der, scalar, text} {
		sealed, err := k.Seal(t.Context(), "p", plaintext, []byte("b"))
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, sealed...)
		_, err = k.Open(t.Context(), "p", sealed, []byte("other"))
		seen = fmt.Append(seen, err)
		_, err = k.Open(t.Context(), "none", sealed, []byte("b"))
		seen = fmt.Append(seen, err)
		secret := append([]byte{}, plaintext...)
		if _, err := k.Secret(t.Context(), fmt.Sprint(len(plaintext)), func() ([]byte, error) { return secret, nil }); err != nil {
			t.Fatal(err)
		}
		if string(secret) != string(make([]byte, len(secret))) {
			t.Error("the fresh secret was not cleared after it was sealed")
		}
	}
	seen = append(seen, r.everything()...)
	r.dataKeys["q"] = der // a store that was tampered with must not make an error talk
	_, err = k.Open(t.Context(), "q", der, nil)
	seen = fmt.Append(seen, err)
	r.secrets["q"] = der
	_, err = k.Secret(t.Context(), "q", nil)
	seen = fmt.Append(seen, err)

	master, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mustNotContain(t, "what was stored or said", seen, master)
	mustNotContain(t, "what was stored or said", seen, scalar)
	mustNotContain(t, "what was stored or said", seen, der)
	mustNotContain(t, "what was stored or said", seen, text)
}

// A Vault, or a proxy before it, that repeats the request must not get it into a log.
func TestVaultErrorsDoNotRepeatWhatWasSent(t *testing.T) {
	v := newVault(t)
	secret := []byte("a secret of the whole cluster, 42 bytes long")
	k := unlock(t, v.source("lacre"), newRecords())
	v.fail.Store(500)
	_, err := k.Secret(t.Context(), "tokens", func() ([]byte, error) { return append([]byte{}, secret...), nil })
	if err == nil {
		t.Fatal("Secret succeeded while vault fails")
	}
	mustNotContain(t, "the error", []byte(err.Error()), secret)
	mustNotContain(t, "the error", []byte(err.Error()), []byte(vaultToken))

	v.fail.Store(0)
	t.Setenv("VAULT_TOKEN", "s.another-token")
	_, err = keyring.Unlock(t.Context(), v.source("lacre"), newRecords())
	mustNotContain(t, "the error", fmt.Append(nil, err), []byte("s.another-token"))
}
