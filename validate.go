package lacre

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"lacre/keypair"
)

var certificateName = regexp.MustCompile(`^[A-Za-z\p{Han}][A-Za-z0-9_\p{Han}]{3,49}$`)

func checkCertificateName(name string) error {
	if certificateName.MatchString(name) {
		return nil
	}
	return FieldErrorf(CodeInvalidField, "name",
		"expected 4 to 50 letters, digits or underscores, the first one a letter (Chinese characters count as letters)")
}

var groupName = regexp.MustCompile(`^[A-Za-z0-9\p{Han}][-A-Za-z0-9\p{Han}_./():()：、]{2,254}$`)

func (in GroupInput) check() error {
	if !groupName.MatchString(in.Name) {
		return FieldErrorf(CodeInvalidField, "name",
			"expected 3 to 255 letters, digits or -_./(): characters, the first one a letter or digit (Chinese characters count as letters)")
	}
	if in.Remark != nil && utf8.RuneCountInString(*in.Remark) > 1000 {
		return FieldErrorf(CodeInvalidField, "remark", "expected at most 1000 characters")
	}
	return nil
}

var instanceName = regexp.MustCompile(`^[A-Za-z\p{Han}][-A-Za-z0-9_\p{Han}]{2,63}$`)

func checkInstanceName(name string) error {
	if instanceName.MatchString(name) {
		return nil
	}
	return FieldErrorf(CodeInvalidField, "instance_name",
		"expected 3 to 64 letters, digits, underscores or hyphens, the first one a letter")
}

// canonicalDomain is the host a domain name stands for (API: url_domain).
func canonicalDomain(name string) (string, error) {
	host, err := keypair.CanonicalHost(name)
	if err != nil || len(name) > 255 {
		return "", FieldErrorf(CodeDomainInvalid, "url_domain",
			"expected a host name of at most 255 characters such as www.example.com or *.example.com")
	}
	return host, nil
}

func checkMinTLS(v string) error {
	switch v {
	case "TLSv1.1", "TLSv1.2", "TLSv1.3":
		return nil
	}
	return FieldErrorf(CodeInvalidField, "min_ssl_version", "expected TLSv1.1, TLSv1.2 or TLSv1.3")
}

// minTLSWarning says that RFC 8996 retired what was asked for.
func minTLSWarning(v string) []string {
	if v == "TLSv1.1" {
		return []string{"min_ssl_version TLSv1.1 is stored as sent; the edge accepts TLS 1.2 and newer only (RFC 8996)."}
	}
	return nil
}

// checkPorts follows the API: -1 is off, 80 and 443 are the defaults, others are
// between 1024 and 49151, and one of the two stays on.
func checkPorts(http, https int) error {
	if !portAllowed(http, 80) {
		return FieldErrorf(CodeInvalidField, "ingress_http_port", "expected -1, 80 or 1024 to 49151")
	}
	if !portAllowed(https, 443) {
		return FieldErrorf(CodeInvalidField, "ingress_https_port", "expected -1, 443 or 1024 to 49151")
	}
	if http == -1 && https == -1 {
		return FieldErrorf(CodeInvalidField, "ingress_https_port", "one of the two ports must be on")
	}
	return nil
}

func portAllowed(port, usual int) bool {
	return port == -1 || port == usual || port >= 1024 && port <= 49151
}

// CheckUpstream accepts what a domain's upstream may be: nothing, or an absolute http, https
// or h2c URL of a host and an optional path; "+proxyv2" after the scheme asks for the PROXY
// protocol. The message does not repeat the value: it might hold a password.
func CheckUpstream(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	good := err == nil && len(text) <= 2048 && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && u.Fragment == "" && strings.Contains(" http https h2c ", " "+strings.TrimSuffix(u.Scheme, "+proxyv2")+" ")
	if !good {
		return FieldErrorf(CodeInvalidField, "upstream", "expected a URL such as http://10.0.0.7:8080, https://app.internal or h2c://grpc.internal:50051 (http+proxyv2:// and so on for the PROXY protocol), without user, query or fragment")
	}
	return nil
}
