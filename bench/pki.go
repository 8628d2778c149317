package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Kinds of keys that are measured.
const (
	ecc = "ECC P-256"
	rs2 = "RSA-2048"
)

// authority is a throw-away root and an intermediate that signs leaves, all of one kind.
type authority struct {
	kind         string
	root         *x509.Certificate
	intermediate *x509.Certificate
	key          crypto.Signer
	keys         []crypto.Signer // RSA keys that leaves take in turn: making one takes long
	serial       atomic.Int64
}

// rsaKeys is how many RSA keys the leaves of an authority share.
const rsaKeys = 4

// pair is a leaf with its intermediate and key, in PEM.
type pair struct {
	cert, key string
	leaf      []byte // DER
}

func newAuthority(kind string) (*authority, error) {
	a := &authority{kind: kind}
	if kind == rs2 {
		for range rsaKeys {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				return nil, fmt.Errorf("making an RSA key: %w", err)
			}
			a.keys = append(a.keys, key)
		}
	}
	rootKey, err := a.newKey()
	if err != nil {
		return nil, err
	}
	template := a.template("bench root", true)
	if a.root, err = sign(template, template, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if a.key, err = a.newKey(); err != nil {
		return nil, err
	}
	a.intermediate, err = sign(a.template("bench intermediate", true), a.root, a.key.Public(), rootKey)
	return a, err
}

func (a *authority) newKey() (crypto.Signer, error) {
	if a.kind == rs2 {
		return a.keys[int(a.serial.Load())%len(a.keys)], nil
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func (a *authority) template(name string, ca bool) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1<<40 + a.serial.Add(1)), Subject: pkix.Name{CommonName: name, Organization: []string{"Lacre bench"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90),
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return c
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// pair makes a new pair for host.
func (a *authority) pair(host string) (pair, error) {
	key, err := a.newKey()
	if err != nil {
		return pair{}, err
	}
	leaf, err := sign(a.template(host, false), a.intermediate, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encoding a key: %w", err)
	}
	return pair{
		cert: pemText("CERTIFICATE", leaf.Raw) + pemText("CERTIFICATE", a.intermediate.Raw),
		key:  pemText("PRIVATE KEY", der), leaf: leaf.Raw,
	}, nil
}

// pairs makes a pair for each of n hosts.
func (a *authority) pairs(n int) ([]pair, error) {
	all := make([]pair, n)
	err := sideBySide(n, func(i int) (err error) {
		all[i], err = a.pair(hostName(i))
		return err
	})
	return all, err
}

// sideBySide does work for 0 to n-1 on all cores, until one fails.
func sideBySide(n int, work func(int) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range runtime.NumCPU() {
		group.Go(func() error {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return nil
				}
				if err := work(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// hostName is the ith host of every server measured (.test: RFC 6761).
func hostName(i int) string { return fmt.Sprintf("h%05d.bench.test", i) }

// client is how a client that trusts the authority connects to host.
func (a *authority) client(host string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.root)
	return &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
}
