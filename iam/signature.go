package iam

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"lacre"
)

// The signature of a request by an access key, as the cloud's API Gateway and SDKs make
// it ("AK/SK Signing and Authentication"). Nothing but this one algorithm is taken.
const (
	algorithm   = "SDK-HMAC-SHA256"
	dateHeader  = "X-Sdk-Date"
	dateFormat  = "20060102T150405Z"
	hashHeader  = "X-Sdk-Content-Sha256"
	longestAuth = 8192 // bytes of an Authorization header; real ones are below 500
)

// signature is what an Authorization header says, with the date it vouches for.
type signature struct {
	key     string   // the AK
	headers []string // that are signed, in lower case and in the order given
	date    string   // as sent, checked against the clock elsewhere
	mac     []byte   // 32 bytes
}

var signatureForm = regexp.MustCompile(`^` + algorithm + ` Access=([A-Za-z0-9_-]{1,64}), ?SignedHeaders=([a-z0-9_.;-]+), ?Signature=([0-9a-f]{64})$`)

// refuseKey words a refusal as the cloud's gateway does.
func refuseKey(code lacre.Code, format string, args ...any) *lacre.Error {
	return lacre.Errorf(code, "Incorrect IAM authentication information: "+format, args...)
}

// badSignature refuses a request that is not signed in a way we take.
func badSignature(format string, args ...any) *lacre.Error {
	return refuseKey(lacre.CodeSignature, "verify aksk signature fail, "+format, args...)
}

// isSigned tells whether r claims to be signed, by whatever algorithm of the cloud's. A
// request that does is judged by its signature, and a token in it counts for nothing.
func isSigned(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Authorization"), func(value string) bool {
		return strings.HasPrefix(value, "SDK-") || strings.HasPrefix(value, "V11-")
	})
}

// readSignature takes the headers of a signed request apart.
func readSignature(r *http.Request) (*signature, error) {
	text, ok := only(r.Header, "Authorization")
	if !ok || len(text) > longestAuth {
		return nil, badSignature("expected one Authorization header of at most %d bytes", longestAuth)
	}
	if name, _, _ := strings.Cut(text, " "); name != algorithm {
		return nil, badSignature("this algorithm is not supported, use %s", algorithm)
	}
	parts := signatureForm.FindStringSubmatch(text)
	if parts == nil {
		return nil, badSignature("expected Authorization: %s Access=…, SignedHeaders=…, Signature=…", algorithm)
	}
	if r.Header.Get("X-Security-Token") != "" {
		return nil, badSignature("temporary access keys (X-Security-Token) are not supported")
	}
	s := &signature{key: parts[1], headers: strings.Split(parts[2], ";")}
	s.mac, _ = hex.DecodeString(parts[3]) // 64 hexadecimal digits, see signatureForm
	if s.date, ok = only(r.Header, dateHeader); !ok || !slices.Contains(s.headers, strings.ToLower(dateHeader)) {
		return nil, badSignature("expected one %s header among the signed ones", dateHeader)
	}
	return s, nil
}

// only returns the value of a header that is there exactly once.
func only(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) != 1 {
		return "", false
	}
	return strings.TrimSpace(values[0]), true
}

// stringToSign is what the signature of r must be of. body is the whole body as sent.
func (s *signature) stringToSign(r *http.Request, body []byte) (string, error) {
	path, err := canonicalPath(r.URL)
	if err != nil {
		return "", err
	}
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	hash, err := bodyHash(r.Header, body)
	if err != nil {
		return "", err
	}
	request := strings.Join([]string{
		r.Method, path, query, s.canonicalHeaders(r), strings.Join(s.headers, ";"), hash,
	}, "\n")
	sum := sha256.Sum256([]byte(request))
	return algorithm + "\n" + s.date + "\n" + hex.EncodeToString(sum[:]), nil
}

// canonicalPath ends in a slash whether the path does or not. The signature is over the
// decoded path and cannot tell an encoded slash from another, while routing can: paths
// with one are refused.
func canonicalPath(u *url.URL) (string, error) {
	if strings.Contains(strings.ToUpper(u.EscapedPath()), "%2F") {
		return "", badSignature("the path has an encoded slash")
	}
	segments := strings.Split(u.Path, "/")
	for i, segment := range segments {
		segments[i] = percentEncode(segment)
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return path, nil
}

// canonicalQuery sorts by name and then by value, both decoded. A name without "=" has
// the empty value. What cannot be decoded would go unsigned, and is refused.
func canonicalQuery(raw string) (string, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", badSignature("the query string is not percent-encoded correctly")
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[name])) {
			pairs = append(pairs, percentEncode(name)+"="+percentEncode(value))
		}
	}
	return strings.Join(pairs, "&"), nil
}

// canonicalHeaders has one line for each value of each signed header, the values of one
// header sorted, and ends in a line break. A header that is not there has none: that is
// what the clients sign of it.
func (s *signature) canonicalHeaders(r *http.Request) string {
	var b strings.Builder
	for _, name := range s.headers {
		values := r.Header.Values(name)
		if name == "host" {
			values = []string{r.Host}
		}
		for _, value := range slices.Sorted(slices.Values(values)) {
			fmt.Fprintf(&b, "%s:%s\n", name, strings.TrimSpace(value))
		}
	}
	return b.String()
}

// bodyHash is the hash of the body, as the client gave it if it did: then it must be
// right. UNSIGNED-PAYLOAD is refused: whoever is between could change the certificate.
func bodyHash(h http.Header, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	ours := hex.EncodeToString(sum[:])
	if len(h.Values(hashHeader)) == 0 {
		return ours, nil
	}
	given, _ := only(h, hashHeader)
	if given == "UNSIGNED-PAYLOAD" {
		return "", badSignature("UNSIGNED-PAYLOAD is not accepted, sign the body")
	}
	if !strings.EqualFold(given, ours) {
		return "", badSignature("%s is not the hash of the body", hashHeader)
	}
	return given, nil
}

// madeWith tells whether the signature is the one that secret makes of text. It takes
// the same time wherever they differ.
func (s *signature) madeWith(secret []byte, text string) bool {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return hmac.Equal(h.Sum(nil), s.mac)
}

// percentEncode leaves alone what RFC 3986 calls unreserved, and nothing else.
func percentEncode(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if plain || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

// wholeBody reads the body and leaves it in r for whoever comes next.
func wholeBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, unreadBody(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}
