package edge

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"time"

	"lacre"
	"lacre/keypair"
)

// revocations are the revocation lists of a certificate's trust roots as handshakes use
// them. They are immutable. A serial number is 16 bytes in a map without pointers:
// looking one up does not depend on how many there are.
type revocations struct {
	digest   [sha256.Size]byte // of the lists; zero when there are none
	revision int64             // of the store, as of which this is known
	unread   bool              // there may be lists, but none could be read yet
	lists    map[[sha256.Size]byte]*revocationList
}

type revocationList struct {
	issuer  []byte // subject of the CA, DER
	due     time.Time
	serials map[serial]struct{}
}

// serial is a serial number, hashed: those of CAs have up to 20 bytes, or more.
type serial [16]byte

func serialOf(n *big.Int) serial {
	sum := sha256.Sum256(append([]byte{byte(n.Sign())}, n.Bytes()...))
	return serial(sum[:16])
}

// newRevocations indexes what is stored; r is nil when nothing is. A list that cannot be
// parsed makes the whole unreadable: what it revoked must not be let in.
func newRevocations(r *lacre.Revocations, revision int64) (*revocations, error) {
	x := &revocations{revision: revision}
	if r == nil || len(r.Lists) == 0 {
		return x, nil
	}
	x.lists = make(map[[sha256.Size]byte]*revocationList, len(r.Lists))
	ders := make([][]byte, len(r.Lists))
	for i, stored := range r.Lists {
		list, err := newRevocationList(stored.DER)
		if err != nil || len(stored.IssuerID) != sha256.Size {
			return nil, fmt.Errorf("the revocation list of %s is not one", stored.Issuer)
		}
		x.lists[[sha256.Size]byte(stored.IssuerID)] = list
		ders[i] = stored.DER
	}
	x.digest = digest(ders)
	return x, nil
}

func newRevocationList(der []byte) (*revocationList, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	list := &revocationList{
		issuer: bytes.Clone(parsed.RawIssuer), due: parsed.NextUpdate,
		serials: make(map[serial]struct{}, len(parsed.RevokedCertificateEntries)),
	}
	for _, entry := range parsed.RevokedCertificateEntries {
		list.serials[serialOf(entry.SerialNumber)] = struct{}{}
	}
	return list, nil
}

// Why a client certificate that chains to a trust root is refused all the same.
var (
	errRevoked  = errors.New("the client certificate, or a CA above it, is revoked")
	errStaleCRL = errors.New("the revocation list of the client certificate's issuer is stale")
	errUnread   = errors.New("the revocation lists cannot be read")
)

// check tells whether a verified chain, leaf first, may be accepted at a time. Whoever
// has a list is held to it, also once it is stale: who was revoked since is not known.
func (x *revocations) check(chain []*x509.Certificate, now time.Time) error {
	if x == nil || x.unread {
		return errUnread
	}
	for cert, list := range x.over(chain) {
		if err := list.check(cert, now); err != nil {
			return err
		}
	}
	return nil
}

// over are the certificates of a verified chain, each with a list of its issuer. A CA
// without a list, and a root, which nobody revokes, are passed over. An intermediate CA
// among the trust roots ends a chain without its issuer, of which the name is known and
// not the key.
func (x *revocations) over(chain []*x509.Certificate) iter.Seq2[*x509.Certificate, *revocationList] {
	return func(yield func(*x509.Certificate, *revocationList) bool) {
		if len(x.lists) == 0 {
			return
		}
		last := len(chain) - 1
		for i, cert := range chain[:last] {
			list := x.lists[keypair.IssuerID(chain[i+1])]
			if list != nil && !yield(cert, list) {
				return
			}
		}
		anchor := chain[last]
		if bytes.Equal(anchor.RawIssuer, anchor.RawSubject) {
			return
		}
		for _, list := range x.lists {
			if bytes.Equal(list.issuer, anchor.RawIssuer) && !yield(anchor, list) {
				return
			}
		}
	}
}

func (l *revocationList) check(cert *x509.Certificate, now time.Time) error {
	if _, revoked := l.serials[serialOf(cert.SerialNumber)]; revoked {
		return errRevoked
	}
	if now.After(l.due) {
		return errStaleCRL
	}
	return nil
}

// due is when the first of the lists goes stale; zero when there are none.
func (x *revocations) due() time.Time {
	var first time.Time
	for _, list := range x.lists {
		if first.IsZero() || list.due.Before(first) {
			first = list.due
		}
	}
	return first
}

// digests are what tells lists from others: one for each certificate that has any.
type digests [][sha256.Size]byte

func digestsOf(all []*revocations) digests {
	var d digests
	for _, x := range all {
		if x != nil && len(x.lists) > 0 {
			d = append(d, x.digest)
		}
	}
	return d
}

func (d digests) bytes() []byte {
	var b []byte
	for _, digest := range d {
		b = append(b, digest[:]...)
	}
	return b
}

// revocations are the lists of all certificates of a site: whoever is revoked under one
// must not get in with the other.
func (s *site) revocations() []*revocations {
	all := make([]*revocations, len(s.slots))
	for i, c := range s.slots {
		all[i] = c.revoked.Load()
	}
	return all
}

// heeds tells whether the lists of the site are still those of d. It allocates nothing.
func (s *site) heeds(d digests) bool {
	for _, c := range s.slots {
		x := c.revoked.Load()
		switch {
		case x == nil || x.unread:
			return false
		case len(x.lists) == 0:
		case len(d) == 0 || d[0] != x.digest:
			return false
		default:
			d = d[1:]
		}
	}
	return len(d) == 0
}

// checkAll is check over all lists.
func checkAll(all []*revocations, chain []*x509.Certificate, now time.Time) error {
	for _, x := range all {
		if err := x.check(chain, now); err != nil {
			return err
		}
	}
	return nil
}

// anyUnread tells whether lists are missing, so that nobody can be let in.
func anyUnread(all []*revocations) bool {
	return slices.ContainsFunc(all, func(x *revocations) bool { return x == nil || x.unread })
}
