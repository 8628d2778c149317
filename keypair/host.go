package keypair

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits on host names (RFC 1035 section 2.3.4, less the length octets and the root).
// Before mapping a name may be longer, but not without bound.
const (
	maxHost     = 253
	maxLabel    = 63
	maxUnmapped = 1024
)

// What is wrong with a host name. The errors are made once: a handshake with a
// malformed SNI allocates nothing for them.
var (
	errHostLength  = errors.New("a host name has 1 to 253 characters")
	errLabelLength = errors.New("each label of a host name has 1 to 63 characters")
	errLabel       = errors.New("a label consists of letters, digits, '-' and '_', and does not start or end with '-'")
	errWildcard    = errors.New("'*' stands alone as the leftmost label, with at least two labels after it")
	errAddress     = errors.New("an IP address or a port is not part of a host name")
	errUnicode     = errors.New("the name is not valid under IDNA 2008")
)

// CanonicalHost returns name in the one form in which host names are stored, compared
// and looked up: A-labels, lower case, no trailing dot. A leftmost label "*" is kept.
// It errors on IP literals, empty names, labels or names that are too long, and
// anything that is not a host name.
//
// Underscores are allowed, as in real DNS names. One trailing dot is dropped. It does
// not allocate for an ASCII name that is canonical but for the dot, A-labels excepted.
func CanonicalHost(name string) (string, error) {
	host := strings.TrimSuffix(name, ".")
	err := checkHost(host)
	if err == nil && !strings.Contains(host, "xn--") {
		return host, nil
	}
	if len(name) > maxUnmapped || err == errAddress {
		return "", err
	}
	mapped, err := mapHost(name)
	if err != nil {
		return "", err
	}
	host = strings.TrimSuffix(mapped, ".")
	if err := checkHost(host); err != nil {
		return "", err
	}
	return host, nil
}

// mapHost maps a name to lower-case A-labels (UTS 46, not transitional). What becomes
// of its ASCII characters is for checkHost to judge.
func mapHost(name string) (string, error) {
	lower := strings.ToLower(name)
	if isASCII(name) && !strings.Contains(lower, "xn--") {
		return lower, nil
	}
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))
	mapped, err := profile.ToASCII(name)
	if err != nil || !utf8.ValidString(name) { // which ToASCII takes for U+FFFD
		return "", errUnicode
	}
	return mapped, nil
}

// isASCII is what decides between lower-casing and the tables of Unicode.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkHost checks a name that should be canonical already, in one pass.
func checkHost(host string) error {
	if len(host) == 0 || len(host) > maxHost {
		return errHostLength
	}
	rest, wild := strings.CutPrefix(host, "*.")
	label, labels, more := "", 0, true
	for ; more; labels++ {
		label, rest, more = strings.Cut(rest, ".")
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if wild && labels < 2 {
		return errWildcard
	}
	if numeric(label) { // no top-level domain is; such names are read as IPv4
		return errAddress
	}
	return nil
}

// checkLabel allows letters, digits and hyphens (RFC 1123 section 2.1), and underscores
// anywhere, since service names and some customers' hosts have them.
func checkLabel(label string) error {
	if label == "*" {
		return errWildcard
	}
	if len(label) == 0 || len(label) > maxLabel {
		return errLabelLength
	}
	for i := range len(label) {
		c := label[i]
		if c == ':' {
			return errAddress
		}
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return errLabel
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return errLabel
	}
	return nil
}

// numeric follows the URL standard's rule on when a host "ends in a number".
func numeric(label string) bool {
	return strings.Trim(label, "0123456789") == ""
}
