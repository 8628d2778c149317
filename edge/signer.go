//go:build !openssl

package edge

import "crypto"

// prepareSigning has nothing to prepare: Go signs.
func prepareSigning() error { return nil }

// signerOf returns what signs with a key in handshakes.
func signerOf(key crypto.Signer) (crypto.Signer, error) { return key, nil }
