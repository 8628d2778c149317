package main

import (
	"encoding/pem"
	"fmt"
	"os"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// tlcpFiles name a client's two certificates and keys, as 'cert create --sm2' names a
// server's.
type tlcpFiles struct{ signCert, signKey, cert, key string }

// read returns nil when no file is named; either all are or none.
func (f tlcpFiles) read() (*tlcp.KeyPair, error) {
	if f == (tlcpFiles{}) {
		return nil, nil
	}
	if f.signCert == "" || f.signKey == "" || f.cert == "" || f.key == "" {
		return nil, usagef("a client shows two certificates: --sign-cert, --sign-key, --cert and --key go together")
	}
	var chains [2][][]byte
	var keys [2]*sm2.PrivateKey
	var err error
	for i, names := range [2][2]string{{f.signCert, f.signKey}, {f.cert, f.key}} {
		if chains[i], err = readChain(names[0]); err != nil {
			return nil, err
		}
		if keys[i], err = readSM2Key(names[1]); err != nil {
			return nil, err
		}
	}
	return tlcp.NewKeyPair(chains[0], keys[0], chains[1], keys[1])
}

// blocks returns the PEM blocks of a file for which want holds, by content.
func blocks(name string, want func(*pem.Block) bool) (ders [][]byte, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return ders, nil
		}
		if text = rest; want(block) {
			ders = append(ders, block.Bytes)
		}
	}
}

func readChain(name string) ([][]byte, error) {
	ders, err := blocks(name, func(b *pem.Block) bool { return b.Type == "CERTIFICATE" })
	if err == nil && len(ders) == 0 {
		err = fmt.Errorf("%s: expected a PEM certificate, it holds none", name)
	}
	return ders, err
}

// readSM2Key reads PKCS#8 or SEC 1. Why it cannot is not told in detail: parsers quote.
func readSM2Key(name string) (*sm2.PrivateKey, error) {
	ders, err := blocks(name, func(b *pem.Block) bool { return b.Type == "PRIVATE KEY" || b.Type == "EC PRIVATE KEY" })
	if err != nil {
		return nil, err
	}
	for _, der := range ders {
		if key, err := smx509.ParseSM2PrivateKey(der); err == nil {
			return key, nil
		}
		if key, err := smx509.ParsePKCS8PrivateKey(der); err == nil {
			if key, ok := key.(*sm2.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: expected an SM2 private key, not encrypted, in PKCS#8 or SEC 1", name)
}

// readSM2Roots returns nil, the system's roots, when no file is named.
func readSM2Roots(name string) (*smx509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := smx509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, hinted{fmt.Errorf("--ca %s: expected PEM certificates, it holds none", name), "give the CA that issued the server's certificates"}
	}
	return pool, nil
}
