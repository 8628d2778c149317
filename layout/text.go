package layout

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Text is a pair as it is uploaded: PEM texts.
type Text struct {
	Cert string // the leaf and its chain
	Key  string // key material: for the API and nobody else
	CA   string // empty without CAs
	// Sign and SignKey are the signing pair of SM2, like Cert and Key; empty for others.
	Sign, SignKey string
	CRL           string // revocation lists, one in DER as base64; empty without
}

// Read reads the files of a pair. What is in them is passed on as it is, so that the
// server judges it; only a file with certificates and keys, or with several keys, is
// taken apart. The error names the file.
func (p *Pair) Read() (*Text, error) {
	cert, err := pieces(p.Cert)
	if err != nil {
		return nil, err
	}
	key := cert
	if p.Key != p.Cert {
		if key, err = pieces(p.Key); err != nil {
			return nil, err
		}
	}
	t := &Text{Cert: cert.certificates(), Key: key.privateKey(p.Leaf.key)}
	for _, chain := range p.Chain {
		more, err := pieces(chain)
		if err != nil {
			return nil, err
		}
		t.Cert += "\n" + more.certificates()
	}
	if p.Sign != "" {
		sign, err := pieces(p.Sign)
		if err != nil {
			return nil, err
		}
		signKey, err := pieces(p.SignKey)
		if err != nil {
			return nil, err
		}
		t.Sign, t.SignKey = sign.certificates(), signKey.privateKey(keyID{})
	}
	if p.CA != "" {
		ca, err := pieces(p.CA)
		if err != nil {
			return nil, err
		}
		t.CA = ca.certificates()
	}
	if t.CRL, err = p.Lists(); err != nil {
		return nil, err
	}
	return t, nil
}

// Lists reads the revocation lists of the pair's clients, in PEM; empty without any.
func (p *Pair) Lists() (string, error) {
	if p.CRL == "" {
		return "", nil
	}
	lists, fault, _ := readFile(p.CRL, maxFile)
	if fault != "" {
		return "", fmt.Errorf("%s: %s", p.CRL, fault)
	}
	return ListText(lists), nil
}

// ListText is the content of a file of revocation lists as the API takes it: PEM as it is,
// one list in DER as base64.
func ListText(file []byte) string {
	if bytes.Contains(file, []byte("-----BEGIN ")) {
		return string(file)
	}
	return base64.StdEncoding.EncodeToString(file)
}

// parts is the text of one file and the blocks in it.
type parts struct {
	text  []byte
	certs []*pem.Block
	keys  []*pem.Block
}

// pieces reads a file. One whose blocks are not all whole is refused when it would have
// to be taken apart: some would be lost without a word.
func pieces(path string) (*parts, error) {
	text, fault, _ := readFile(path, maxFile)
	if fault != "" {
		return nil, fmt.Errorf("%s: %s", path, fault)
	}
	p := &parts{text: text}
	blocks := 0
	for rest := text; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case strings.HasSuffix(block.Type, "CERTIFICATE"):
			p.certs = append(p.certs, block)
		case isKey(block):
			p.keys = append(p.keys, block)
		}
	}
	mixed := len(p.certs) > 0 && len(p.keys) > 0 || len(p.keys) > 1
	if mixed && bytes.Count(text, []byte("-----BEGIN ")) != blocks {
		return nil, errors.New(path + ": a PEM block in it is damaged")
	}
	return p, nil
}

func (p *parts) certificates() string {
	if len(p.keys) == 0 {
		return string(p.text)
	}
	return encoded(p.certs)
}

// privateKey is the key of that public key. Without one that is known to be it, it is
// all there are.
func (p *parts) privateKey(id keyID) string {
	if len(p.certs) == 0 && len(p.keys) <= 1 {
		return string(p.text)
	}
	for _, block := range p.keys {
		if public, ok := publicKey(block); ok {
			if spki, err := x509.MarshalPKIXPublicKey(public); err == nil && sha256.Sum256(spki) == id {
				return encoded([]*pem.Block{block})
			}
		}
	}
	return encoded(p.keys)
}

func encoded(blocks []*pem.Block) string {
	var out []byte
	for _, block := range blocks {
		out = slices.Concat(out, pem.EncodeToMemory(block))
	}
	return string(out)
}
