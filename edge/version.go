package edge

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/emmansun/gmsm/smx509"

	"lacre"
	"lacre/keypair"
)

// certificateKey names a certificate. The project is part of it, so that a binding
// can only ever reach a certificate of its own project.
type certificateKey struct{ project, id string }

// served is one certificate and the version of it that new handshakes are given.
type served struct {
	key     certificateKey
	current atomic.Pointer[version]     // nil until a readable version is known
	revoked atomic.Pointer[revocations] // nil until a site that verifies clients names it
	refs    int32                       // sites that name it; guarded by holdings.mu
	checked uint32                      // round of the last compare that read it; guarded by holdings.mu
	site    *site                       // one of those that name it and are served; nil if there is none; guarded by holdings.mu
	more    map[*site]struct{}          // the others; nil if there is none; guarded by holdings.mu
}

// named notes that an installed site names c. It needs holdings.mu.
func (c *served) named(s *site) {
	switch {
	case c.site == nil || c.site == s:
		c.site = s
	case c.more == nil:
		c.more = map[*site]struct{}{s: {}}
	default:
		c.more[s] = struct{}{}
	}
}

// unnamed is the inverse of named. It needs holdings.mu.
func (c *served) unnamed(s *site) {
	delete(c.more, s)
	if c.site != s {
		return
	}
	c.site = nil
	for other := range c.more {
		c.site = other
		delete(c.more, other)
		return
	}
}

// version is one immutable key pair as the edge holds it: everything a handshake
// presents comes from one version, so nothing can be mixed. Idle it is bytes only;
// opened is filled by the first handshake that needs it.
type version struct {
	served              *served
	number              int
	algorithm           keypair.Algorithm
	notBefore, notAfter time.Time
	leaf                []byte // DER
	sealedKey           []byte
	chain               *bundle  // what follows the leaf
	signing             *signing // SM2 only; leaf, sealedKey and chain are the encryption pair's
	roots               *bundle  // what client certificates must chain to; may be empty
	staple              *staple  // nil without one

	opened  atomic.Pointer[opened]
	opening sync.Mutex // single flight; taken only while opened is nil
	failed  error      // why the last attempt failed; guarded by opening
	retry   time.Time  // when to try again; guarded by opening
	slot    int        // where keys holds it, from 1, 0 if not; guarded by keys.mu
	dropped bool       // superseded or no longer served; guarded by keys.mu
}

// newVersion copies what it keeps of v: a record's slices share one large buffer.
func newVersion(s *served, v *lacre.Version, bundles *bundles) *version {
	return &version{
		signing: newSigning(v, bundles),
		served:  s, number: v.Number, algorithm: v.Facts.Algorithm,
		notBefore: v.Facts.NotBefore, notAfter: v.Facts.NotAfter,
		leaf: bytes.Clone(v.Chain[0]), sealedKey: bytes.Clone(v.SealedKey),
		chain: bundles.intern(v.Chain[1:]), roots: bundles.intern(v.TrustRoots),
		staple: newStaple(v),
	}
}

// record returns what lacre.OpenPair and lacre.OpenSM2 need to know.
func (v *version) record() *lacre.Version {
	r := &lacre.Version{
		ProjectID: v.served.key.project, CertificateID: v.served.key.id, Number: v.number,
		Chain: [][]byte{v.leaf}, SealedKey: v.sealedKey,
	}
	if v.isSM2() {
		r.SignChain, r.SealedSignKey = [][]byte{v.signing.leaf}, v.signing.sealedKey
	}
	return r
}

func (v *version) validAt(now time.Time) bool {
	return !now.Before(v.notBefore) && !now.After(v.notAfter)
}

// opened is a version ready to sign with: its parsed leaf, its key and one config for
// each policy that was asked for. It is dropped as a whole.
type opened struct {
	certificate tls.Certificate
	mustStaple  bool        // clients refuse the leaf without an OCSP staple
	used        atomic.Bool // since the clock hand last passed
	configs     [policies]atomic.Pointer[tls.Config]
	sm2         *openedSM2                           // instead of certificate and configs
	mutual      [policies]atomic.Pointer[mutualKeys] // only where clients are verified
}

// bundle is a list of certificates that many versions share, held once for each
// distinct content. Two versions have equal bundles exactly if the pointers are equal.
type bundle struct {
	ders  [][]byte
	once  sync.Once
	certs *x509.CertPool

	onceSM2  sync.Once
	certsSM2 *smx509.CertPool
}

// pool returns the bundle as a pool. It is never nil: crypto/tls would read nil as
// the roots of the system. A certificate that does not parse is left out, which can
// only make verification stricter.
func (b *bundle) pool() *x509.CertPool {
	b.once.Do(func() {
		b.certs = x509.NewCertPool()
		for _, der := range b.ders {
			if cert, err := x509.ParseCertificate(der); err == nil {
				b.certs.AddCert(cert)
			}
		}
	})
	return b.certs
}

// bundles interns bundles by content and forgets those that nobody holds any more.
type bundles struct {
	mu   sync.Mutex
	held map[[sha256.Size]byte]weak.Pointer[bundle]
}

func (bs *bundles) intern(ders [][]byte) *bundle {
	sum := digest(ders)
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b := bs.held[sum].Value(); b != nil {
		return b
	}
	b := &bundle{ders: make([][]byte, len(ders))}
	for i, der := range ders {
		b.ders[i] = bytes.Clone(der)
	}
	if bs.held == nil {
		bs.held = make(map[[sha256.Size]byte]weak.Pointer[bundle])
	}
	bs.held[sum] = weak.Make(b)
	runtime.AddCleanup(b, bs.forget, sum)
	return b
}

func (bs *bundles) forget(sum [sha256.Size]byte) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.held[sum].Value() == nil { // not interned anew meanwhile
		delete(bs.held, sum)
	}
}

func digest(ders [][]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, der := range ders {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(der))))
		h.Write(der)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
