package lacre

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
)

// Limits of a Question. A client hello may say more than a host name allows, and more
// than once; what is longer than this is a mistake.
const (
	maxNameSent = 1024
	maxOffers   = 256
)

// What a current browser offers, for what a Question leaves open.
var (
	usualVersions = []uint16{tls.VersionTLS13, tls.VersionTLS12}
	usualSuites   = []uint16{
		tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	usualSignatures = []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}
	tlcpSuites      = []uint16{0xe053, 0xe013, 0xe051, 0xe011}
)

var versionNumbers = map[string]uint16{
	"TLSv1.0": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
	"TLCPv1.1": VersionTLCP,
}

// signatureNumbers is the IANA registry "TLS SignatureScheme" as far as it is in use.
var signatureNumbers = map[string]uint16{
	"rsa_pkcs1_sha1": 0x0201, "ecdsa_sha1": 0x0203,
	"rsa_pkcs1_sha256": 0x0401, "rsa_pkcs1_sha384": 0x0501, "rsa_pkcs1_sha512": 0x0601,
	"ecdsa_secp256r1_sha256": 0x0403, "ecdsa_secp384r1_sha384": 0x0503, "ecdsa_secp521r1_sha512": 0x0603,
	"sm2sig_sm3":          0x0708,
	"rsa_pss_rsae_sha256": 0x0804, "rsa_pss_rsae_sha384": 0x0805, "rsa_pss_rsae_sha512": 0x0806,
	"ed25519": 0x0807, "ed448": 0x0808,
	"rsa_pss_pss_sha256": 0x0809, "rsa_pss_pss_sha384": 0x080a, "rsa_pss_pss_sha512": 0x080b,
}

var suiteNumbers = namedSuites()

func namedSuites() map[string]uint16 {
	names := map[string]uint16{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		names[s.Name] = s.ID
	}
	for i, name := range []string{"ECC_SM4_GCM_SM3", "ECC_SM4_CBC_SM3", "ECDHE_SM4_GCM_SM3", "ECDHE_SM4_CBC_SM3"} {
		names[name] = tlcpSuites[i]
	}
	return names
}

// hello is the question in the numbers of the wire.
func (q *Question) hello() (h ClientHello, err error) {
	h.ServerName = q.ServerName
	if len(q.ServerName) > maxNameSent {
		return h, FieldErrorf(CodeInvalidField, "sni", "expected at most %d bytes", maxNameSent)
	}
	for _, list := range []struct {
		field, example string
		sent           []string
		names          map[string]uint16
		usual          []uint16
		into           *[]uint16
	}{
		{"versions", "TLSv1.2 or 0x0303", q.Versions, versionNumbers, usualVersions, &h.Versions},
		{"cipher_suites", "TLS_AES_128_GCM_SHA256 or 0x1301", q.CipherSuites, suiteNumbers, usualSuites, &h.CipherSuites},
		{"signature_algorithms", "ecdsa_secp256r1_sha256 or 0x0403", q.SignatureAlgorithms, signatureNumbers, usualSignatures, &h.SignatureAlgorithms},
	} {
		if list.sent == nil {
			*list.into = list.usual
			continue
		}
		if len(list.sent) == 0 || len(list.sent) > maxOffers {
			return h, FieldErrorf(CodeInvalidField, list.field, "expected 1 to %d entries, or nothing for what browsers offer", maxOffers)
		}
		for i, text := range list.sent {
			n, ok := number(text, list.names)
			if !ok {
				return h, FieldErrorf(CodeInvalidField, list.field, "entry %d: expected a name or number of the IANA registry, such as %s", i, list.example)
			}
			*list.into = append(*list.into, n)
		}
	}
	return h, q.settleTLCP(&h)
}

// settleTLCP makes a hello that names TLCP one of that: it has one version, suites of its own
// and no signature algorithms.
func (q *Question) settleTLCP(h *ClientHello) error {
	switch {
	case !slices.Contains(h.Versions, VersionTLCP):
		return nil
	case len(h.Versions) > 1:
		return FieldErrorf(CodeInvalidField, "versions", "expected TLCPv1.1 alone: a client hello is one of TLS or one of TLCP")
	case q.SignatureAlgorithms != nil:
		return FieldErrorf(CodeInvalidField, "signature_algorithms", "expected none: a client hello of TLCP has no such list")
	}
	h.SignatureAlgorithms = nil
	if q.CipherSuites == nil {
		h.CipherSuites = tlcpSuites
	}
	return nil
}

// number reads a name, or a number of 16 bits in decimal or after 0x.
func number(text string, names map[string]uint16) (uint16, bool) {
	if n, ok := names[text]; ok {
		return n, true
	}
	digits, base := text, 10
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	return uint16(n), err == nil
}
