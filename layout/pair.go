package layout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
)

// named adds a pair that a configuration names, as far as its files are there.
func (f *finder) named(p *Pair) {
	cert, key := f.open(p.Cert), f.open(p.Key)
	files := []*contents{cert, key}
	if p.Sign != "" {
		files = append(files, f.open(p.Sign), f.open(p.SignKey))
	}
	for _, file := range files {
		if file.fault != "" || !file.isPEM() {
			f.fail(file.path, "named in "+p.Origin+": "+cmp.Or(file.fault, "no PEM certificate or key in it"))
			return
		}
	}
	if p.CA != "" && len(f.open(p.CA).certs) == 0 {
		f.forbid(p.Hosts, "the CA of its clients is not there")
		f.fail(p.CA, "named in "+p.Origin+": "+cmp.Or(f.open(p.CA).fault, "no certificate in it"))
		return
	}
	if p.CRL != "" && !isFile(p.CRL) {
		f.forbid(p.Hosts, "the revocation lists of its clients are not there")
		f.fail(p.CRL, "named in "+p.Origin+": no such file")
		return
	}
	p.Leaf = leafOf(cert, key)
	if len(p.Hosts) == 0 {
		p.Hosts = p.derived(p.CA != "")
	}
	f.pairs = append(f.pairs, p)
}

// leafOf is the certificate in one file that belongs to the key in another, or the first
// one, which the server will refuse with its reason.
func leafOf(cert, key *contents) Leaf {
	for _, c := range cert.certs {
		if slices.Contains(key.keys, c.key) {
			return c.leaf
		}
	}
	if len(cert.certs) > 0 {
		return cert.certs[0].leaf
	}
	return Leaf{}
}

// merged makes one pair of all that are the same certificate with the same CA and lists.
func merged(pairs []*Pair) []*Pair {
	type identity struct{ leaf, ca, crl string }
	same := map[identity]*Pair{}
	var out []*Pair
	for _, p := range pairs {
		id := identity{cmp.Or(p.Leaf.Fingerprint, p.Cert), p.CA, p.CRL}
		if first := same[id]; first != nil {
			first.Hosts = append(first.Hosts, p.Hosts...)
			continue
		}
		same[id] = p
		out = append(out, p)
	}
	for _, p := range out {
		p.Hosts = mergedHosts(p.Hosts)
	}
	return out
}

// mergedHosts has each name once. A name that must be verified anywhere must be verified.
func mergedHosts(hosts []Host) []Host {
	at := map[string]int{}
	out := []Host{}
	for _, h := range hosts {
		h.Name = strings.ToLower(h.Name)
		i, known := at[h.Name]
		if !known {
			at[h.Name] = len(out)
			out = append(out, h)
			continue
		}
		out[i].Verify = out[i].Verify || h.Verify
		out[i].Derived = out[i].Derived && h.Derived
	}
	return out
}

// vague are file names that say nothing about what is in the file.
const vague = " fullchain cert certificate chain server tls ssl combined bundle haproxy public site domain "

// Name is the certificate name of a pair: the readable part of its path, and digits that
// keep it apart from every other path. It stays the same when the certificate in the file
// is renewed, so that importing the file again modifies what it became the first time.
func (p *Pair) Name() string {
	readable := stem(p.Cert)
	if strings.Contains(vague, " "+strings.ToLower(readable)+" ") {
		readable = filepath.Base(filepath.Dir(p.Cert))
	}
	identity := p.Cert
	if p.CA != "" {
		identity += "\x00" + p.CA
	}
	if p.CRL != "" {
		identity += "\x00" + p.CRL
	}
	sum := sha256.Sum256([]byte(identity))
	return identifier(readable) + "_" + hex.EncodeToString(sum[:6])
}

// identifier keeps of text what a certificate name may have, at most 37 characters that
// begin with a letter.
func identifier(text string) string {
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, text)
	text = strings.Trim(text, "_")
	if text == "" || text[0] <= '9' {
		text = "c_" + text
	}
	return strings.TrimRight(text[:min(len(text), 37)], "_")
}
