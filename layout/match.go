package layout

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
)

// match pairs the loose PEM files: certificates with keys by their public key, wherever
// they lie and whatever they are called.
func (f *finder) match() {
	m := &matching{
		finder: f, keys: map[keyID][]*contents{}, opaque: map[string][]*contents{},
		issuers: map[place][]*contents{}, issued: map[[sha256.Size]byte]bool{}, cas: map[keyID]bool{}, used: map[*contents]bool{},
	}
	slices.SortFunc(f.loose, func(a, b *contents) int { return cmp.Compare(a.path, b.path) })
	f.loose = slices.Compact(f.loose)
	for _, c := range f.loose {
		m.index(c)
	}
	m.findCAs()
	best := m.candidates()
	for _, c := range best {
		m.complete(c)
		f.pairs = append(f.pairs, c.Pair)
	}
	m.leftovers()
}

// matching is one run of match. Everything is found by a map: there may be a million files.
type matching struct {
	*finder
	keys    map[keyID][]*contents
	opaque  map[string][]*contents     // files with keys that cannot be read here, by directory
	issuers map[place][]*contents      // files that begin with an intermediate
	issued  map[[sha256.Size]byte]bool // subjects that have issued others
	cas     map[keyID]bool             // keys of certificates that serve nothing
	used    map[*contents]bool         // they are part of a pair, or it was said why not
}

// place is a directory and the subject of a certificate in it.
type place struct {
	dir     string
	subject [sha256.Size]byte
}

func (m *matching) index(c *contents) {
	dir := filepath.Dir(c.path)
	for _, key := range c.keys {
		m.keys[key] = append(m.keys[key], c)
	}
	for _, x := range c.certs {
		if x.subject != x.issuer {
			m.issued[x.issuer] = true
		}
	}
	if c.opaque {
		m.opaque[dir] = append(m.opaque[dir], c)
	}
	if len(c.certs) > 0 && c.certs[0].ca && c.certs[0].subject != c.certs[0].issuer {
		at := place{dir, c.certs[0].subject}
		m.issuers[at] = append(m.issuers[at], c)
	}
}

// candidate is a pair that may not be the best one of its leaf.
type candidate struct {
	*Pair
	cert *contents
	at   int // of the leaf in cert
}

// candidates makes a pair of every certificate that has a key, the best of those with the
// same leaf: certbot's cert.pem gives way to its fullchain.pem.
func (m *matching) candidates() []*candidate {
	var list []*candidate
	for _, c := range m.loose {
		if len(c.certs) == 0 {
			continue
		}
		if found := m.candidate(c); found != nil {
			list = append(list, found)
		}
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(len(b.cert.certs), len(a.cert.certs)) })
	first := map[string]*candidate{}
	list = slices.DeleteFunc(list, func(c *candidate) bool {
		better := first[c.Leaf.Fingerprint]
		if better == nil || c.Leaf.Fingerprint == "" {
			first[c.Leaf.Fingerprint] = c
			return false
		}
		m.skip(c.Cert, "the same certificate as "+better.Cert)
		return true
	})
	slices.SortFunc(list, func(a, b *candidate) int { return cmp.Compare(a.Cert, b.Cert) })
	return list
}

func (m *matching) candidate(c *contents) *candidate {
	at := slices.IndexFunc(c.certs, func(x cert) bool { return m.serves(x) && len(m.keys[x.key]) > 0 })
	var key *contents
	if at >= 0 {
		key = nearest(c, m.keys[c.certs[at].key])
	} else if at = slices.IndexFunc(c.certs, m.serves); at < 0 {
		return nil // CAs only: somebody's chain
	} else if key = related(c, m.opaque[filepath.Dir(c.path)]); key == nil {
		m.used[c] = true
		m.skip(c.path, "its private key is not among the files")
		return nil
	}
	m.used[c], m.used[key] = true, true
	p := &Pair{Cert: c.path, Key: key.path, Leaf: c.certs[at].leaf}
	p.Hosts = p.derived(false)
	return &candidate{p, c, at}
}

// serves tells whether a certificate can be a server's. A CA's is not, whose key may lie
// beside it and is nobody's business. One that signed itself, has names and has issued none
// of the others may say CA all the same: OpenSSL makes them so.
func (m *matching) serves(x cert) bool {
	return !x.ca || len(x.leaf.SANs) > 0 && x.subject == x.issuer && !m.issued[x.subject]
}

// findCAs notes which keys are those of CAs, once it is known who has issued what.
func (m *matching) findCAs() {
	for _, c := range m.loose {
		for _, x := range c.certs {
			if !m.serves(x) {
				m.cas[x.key] = true
			}
		}
	}
}

// derived are the names in the leaf, for want of a configuration that says more.
func (p *Pair) derived(verify bool) []Host {
	hosts := make([]Host, len(p.Leaf.Names))
	for i, name := range p.Leaf.Names {
		hosts[i] = Host{Name: name, Verify: verify, Derived: true}
	}
	return hosts
}

// nearest is that of several files with the same key which lies closest to a certificate.
func nearest(c *contents, files []*contents) *contents {
	distance := func(k *contents) int {
		switch {
		case k == c:
			return 0
		case filepath.Dir(k.path) != filepath.Dir(c.path):
			return 3
		case sameStem(c.path, k.path):
			return 1
		}
		return 2
	}
	return slices.MinFunc(files, func(a, b *contents) int {
		return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a.path, b.path))
	})
}

// related is that of the unreadable keys in its directory which goes with a certificate by
// its name. Nothing else would do: a key that is not the certificate's is not to be sent
// anywhere.
func related(c *contents, opaque []*contents) *contents {
	at := slices.IndexFunc(opaque, func(k *contents) bool { return k == c || sameStem(c.path, k.path) })
	if at < 0 {
		return nil
	}
	return opaque[at]
}

// sameStem tells whether two file names say that they belong together: foo.crt with
// foo.key, foo.pem with foo.pem.key, fullchain.pem with privkey.pem.
func sameStem(cert, key string) bool {
	a, b := filepath.Base(cert), stem(key)
	return b == a || b == stem(cert) || b == "privkey" && (stem(cert) == "fullchain" || stem(cert) == "cert")
}

// stem is the last element of a path without its extension.
func stem(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// complete looks in the leaf's directory for the issuers that its file lacks.
func (m *matching) complete(c *candidate) {
	if len(c.cert.certs) > 1 || c.Leaf.Fingerprint == "" {
		return
	}
	for file := c.cert; len(file.certs) == 1 && file.certs[0].subject != file.certs[0].issuer; {
		if file = m.issuer(file); file == nil || slices.Contains(c.Chain, file.path) {
			return
		}
		m.used[file] = true
		c.Chain = append(c.Chain, file.path)
	}
}

// issuer is a file of CA certificates beside another one, whose first signed the other's.
// A root is none: clients have it or do not trust it.
func (m *matching) issuer(of *contents) *contents {
	for _, file := range m.issuers[place{filepath.Dir(of.path), of.certs[0].issuer}] {
		if signed(file.path, of.path) {
			return file
		}
	}
	return nil
}

// signed tells whether the first certificate of one file signed the first of another. A
// name alone is not enough: an intermediate that was renewed has the old one's.
func signed(issuer, by string) bool {
	parent, child := firstCertificate(issuer), firstCertificate(by)
	return parent != nil && child != nil && child.CheckSignatureFrom(parent) == nil
}

func firstCertificate(path string) *x509.Certificate {
	text, _, _ := readFile(path, maxFile)
	defer clear(text)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if strings.HasSuffix(block.Type, "CERTIFICATE") {
			x, _ := x509.ParseCertificate(block.Bytes) // nil with an error
			return x
		}
		clear(block.Bytes)
	}
}

// ofCA tells whether a file has the key of a CA among the files.
func (m *matching) ofCA(c *contents) bool {
	return slices.ContainsFunc(c.keys, func(k keyID) bool { return m.cas[k] })
}

// leftovers says of each file that is part of no pair why that is.
func (m *matching) leftovers() {
	for _, c := range m.loose {
		switch {
		case m.used[c]:
		case len(c.certs) > 0:
			m.skip(c.path, "CA certificates only")
		case m.ofCA(c):
			m.skip(c.path, "the private key of a CA")
		default:
			m.skip(c.path, "a private key of none of the certificates")
		}
	}
}
