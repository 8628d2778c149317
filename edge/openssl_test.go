//go:build openssl

package edge

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func opensslSigner(t *testing.T, key crypto.Signer) crypto.Signer {
	t.Helper()
	if err := prepareSigning(); err != nil {
		t.Fatal(err)
	}
	signer, err := signerOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func generateRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What OpenSSL signs, Go verifies, with keys that were made here and that were stored.
func TestOpenSSLSigns(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		key := generateRSA(t, bits)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []*rsa.PrivateKey{key, stored.(*rsa.PrivateKey)} {
			signer := opensslSigner(t, private)
			if _, ok := signer.(*rsaKey); !ok || !key.PublicKey.Equal(signer.Public()) {
				t.Fatalf("%d bits: got %T, want a key of OpenSSL with the same public key", bits, signer)
			}
			verifySignatures(t, signer, &key.PublicKey)
		}
	}
}

func verifySignatures(t *testing.T, signer crypto.Signer, public *rsa.PublicKey) {
	t.Helper()
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := hash.New()
		h.Write([]byte("a transcript"))
		digest := h.Sum(nil)
		signature, err := signer.Sign(nil, digest, hash)
		if err == nil {
			err = rsa.VerifyPKCS1v15(public, hash, digest, signature)
		}
		if err != nil {
			t.Errorf("PKCS #1 v1.5 with %v: %v", hash, err)
		}
		pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		signature, err = signer.Sign(nil, digest, pss)
		if err == nil {
			err = rsa.VerifyPSS(public, hash, digest, signature, pss)
		}
		if err != nil {
			t.Errorf("PSS with %v: %v", hash, err)
		}
		again, err := signer.Sign(nil, digest, pss)
		if err != nil || bytes.Equal(signature, again) {
			t.Errorf("PSS with %v: signed twice with one salt, err %v", hash, err)
		}
	}
	for _, hash := range []crypto.Hash{0, crypto.SHA256} {
		if _, err := signer.Sign(nil, make([]byte, 31), hash); err == nil {
			t.Errorf("31 bytes signed as a digest of hash %d", hash)
		}
	}
}

// Only RSA goes to OpenSSL.
func TestOpenSSLLeavesTheRest(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer := opensslSigner(t, key); signer != crypto.Signer(key) {
		t.Errorf("got %T, want the key itself", signer)
	}
}

// Keys that nobody holds any more leave OpenSSL's memory, which no collector sees.
func TestOpenSSLFreesKeys(t *testing.T) {
	const keys = 20_000 // some 100 MiB
	key := generateRSA(t, 2048)
	digest := sha256.Sum256(nil)
	opensslSigner(t, key)
	before := resident(t)
	for i := range keys {
		signer := opensslSigner(t, key)
		if i%100 == 0 {
			if _, err := signer.Sign(nil, digest[:], crypto.SHA256); err != nil {
				t.Fatal(err)
			}
			runtime.GC()
		}
	}
	var grown int64
	for range 100 { // finalizers run beside us
		runtime.GC()
		if grown = resident(t) - before; grown < 20<<20 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d keys made and dropped: resident memory grew by %d MiB", keys, grown>>20)
}

// resident is the anonymous memory of this process, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "RssAnon:")
	kB, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}
