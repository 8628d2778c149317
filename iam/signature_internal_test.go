package iam

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"lacre"
)

const testProject = "73d69ae0cfcf460190522d06b60f05ad"

// received parses a request as the server does. lines are its first line and headers.
func received(t *testing.T, body string, lines ...string) *http.Request {
	t.Helper()
	text := strings.Join(lines, "\r\n") + "\r\nHost: 127.0.0.1:8080\r\n\r\n" + body
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The first two are from the cloud SDK's own tests (core/auth/signer/signer_test.go), the
// others were computed with its code. Clients in the field agree with these to the byte.
func TestSignatureVectors(t *testing.T) {
	const sdk = "User-Agent: huaweicloud-usdk-go/3.0\r\nX-Project-Id: " + testProject + "\r\nX-Sdk-Date: 20240101T000000Z"
	const signed = "user-agent;x-project-id;x-sdk-date"
	for name, tt := range map[string]struct{ line, headers, signed, access, secret, body, want string }{
		"SDK GET": {"GET /path?limit=1", "X-Sdk-Date: 20060102T150405Z", "x-sdk-date", "AccessKey", "SecretKey", "",
			"5a2ce64c865e0e6046321c6f3d5a77ba8413eeaf355c3166c03d58d02ac79624"},
		"SDK POST": {"POST /path?key=value", "X-Sdk-Date: 20060102T150405Z", "x-sdk-date", "AccessKey", "SecretKey",
			`{"Name":"test","Id":1}` + "\n", "cecc2af119b18ab70b4d094c0750f3b42c02f254903179a0fc2cc72fc9db4f59"},
		"query to be sorted and encoded": {
			"GET /v2/" + testProject + "/apigw/certificates?instance_id=f0fa1789-3b76-433b-a787-9892951c620e&limit=100&name=%E8%AF%81%E4%B9%A6+a",
			sdk, signed, "AKEXAMPLE", "SKEXAMPLE", "", "bd0bc2a495b6616416ecbacd6a4df9da126383abfcc8749b3e5790489ecafe64"},
		"parameter without value": {"GET /v2/" + testProject + "/apigw/certificates?instance_id",
			sdk, signed, "AKEXAMPLE", "SKEXAMPLE", "", "97af46061a4d598a5c9c629ffc3a85cb8a099a527b12489591012a95741821b0"},
		"PUT": {"PUT /v2/" + testProject + "/apic/certificates/a27be832f2e9441c8127fe48e3b5ac67",
			sdk, signed, "AKEXAMPLE", "SKEXAMPLE", `{"name":"cert_demo","cert_content":"C","private_key":"K"}` + "\n",
			"5868eacf496f6866c94c21d5f85752892bc1130c78d09727605513ff052ba6cc"},
	} {
		t.Run(name, func(t *testing.T) {
			auth := "Authorization: SDK-HMAC-SHA256 Access=" + tt.access + ", SignedHeaders=" + tt.signed + ", Signature=" + tt.want
			r := received(t, "", tt.line+" HTTP/1.1", tt.headers, auth)
			s, err := readSignature(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := s.stringToSign(r, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if s.key != tt.access || !s.madeWith([]byte(tt.secret), text) {
				t.Errorf("the signature of %s is refused, want it taken; signed was\n%s", s.key, text)
			}
			if s.madeWith([]byte(tt.secret+"x"), text) || s.madeWith(nil, text) || s.madeWith([]byte(tt.secret), text+"x") {
				t.Error("another secret or text makes the same signature")
			}
		})
	}
}

func TestCanonicalPath(t *testing.T) {
	for target, want := range map[string]string{
		"/": "/", "/a": "/a/", "/a/": "/a/", "/a/b": "/a/b/", "/a%20b/c": "/a%20b/c/", "/a+b": "/a%2Bb/", "/a~b-c_d.e": "/a~b-c_d.e/",
		"/%E8%AF%81": "/%E8%AF%81/", "/%e8%af%81": "/%E8%AF%81/", "/a*b": "/a%2Ab/", "/a:@b": "/a%3A%40b/", "/a%25b": "/a%25b/",
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := canonicalPath(u); err != nil || got != want {
			t.Errorf("canonicalPath(%s) = %q, %v, want %q", target, got, err, want)
		}
	}
	for _, target := range []string{"/a%2Fb", "/a%2fb", "/%2F"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := canonicalPath(u); lacre.CodeOf(err) != lacre.CodeSignature {
			t.Errorf("canonicalPath(%s): error = %v, want the encoded slash refused", target, err)
		}
	}
}

func TestCanonicalQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "b=2&a=1": "a=1&b=2", "a=2&a=1&a": "a=&a=1&a=2", "a": "a=", "a=": "a=", "a=1+2": "a=1%202", "a=1%202": "a=1%202",
		"a=1%2B2": "a=1%2B2", "a=b=c": "a=b%3Dc", "%C3%A4=%c3%a4": "%C3%A4=%C3%A4", "a-b=~": "a-b=~", "a%2Fb=/": "a%2Fb=%2F", "&&a=1&": "a=1",
		"aa=1&a=2&a%20=3": "a=2&a%20=3&aa=1",
	} {
		if got, err := canonicalQuery(raw); err != nil || got != want {
			t.Errorf("canonicalQuery(%s) = %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"a=%zz", "a;b=1", "a=1;b=2", "%", "a=1&%4"} { // would go unsigned
		if _, err := canonicalQuery(raw); lacre.CodeOf(err) != lacre.CodeSignature {
			t.Errorf("canonicalQuery(%s): error = %v, want it refused", raw, err)
		}
	}
}

func TestCanonicalHeaders(t *testing.T) {
	r := received(t, "", "GET / HTTP/1.1", "X-B: 2", "X-B:   1  ", "X-Empty:", "X-A: a\r\n b", "X-Spaces: a  b", "Content-Type: application/json")
	s := &signature{headers: []string{"x-b", "host", "x-empty", "x-none", "x-a", "x-spaces", "content-type"}}
	const want = "x-b:1\nx-b:2\nhost:127.0.0.1:8080\nx-empty:\nx-a:a b\nx-spaces:a  b\ncontent-type:application/json\n"
	if got := s.canonicalHeaders(r); got != want {
		t.Errorf("canonicalHeaders = %q, want %q", got, want)
	}
}

func TestRefusedAuthorizationHeaders(t *testing.T) {
	const (
		date  = "X-Sdk-Date: 20240101T000000Z"
		start = "Authorization: SDK-HMAC-SHA256 "
	)
	mac := strings.Repeat("0", 64)
	good := "Access=AK, SignedHeaders=x-sdk-date, Signature=" + mac
	if _, err := readSignature(received(t, "", "GET / HTTP/1.1", start+good, date)); err != nil {
		t.Fatalf("what the others are made of: error = %v, want none", err)
	}
	for name, lines := range map[string][]string{
		"no date":             {start + good},
		"two dates":           {start + good, date, date},
		"unsigned date":       {start + "Access=AK, SignedHeaders=host, Signature=" + mac, date},
		"two authorizations":  {start + good, start + good, date},
		"another algorithm":   {"Authorization: SDK-HMAC-SM3 " + good, date},
		"derived algorithm":   {"Authorization: V11-HMAC-SHA256 " + good, date},
		"lower case":          {"Authorization: sdk-hmac-sha256 " + good, date},
		"temporary key":       {start + good, date, "X-Security-Token: x"},
		"no key":              {start + "Access=, SignedHeaders=x-sdk-date, Signature=" + mac, date},
		"slash in key":        {start + "Access=a/b, SignedHeaders=x-sdk-date, Signature=" + mac, date},
		"long key":            {start + "Access=" + strings.Repeat("A", 65) + ", SignedHeaders=x-sdk-date, Signature=" + mac, date},
		"upper-case headers":  {start + "Access=AK, SignedHeaders=X-Sdk-Date, Signature=" + mac, date},
		"short signature":     {start + "Access=AK, SignedHeaders=x-sdk-date, Signature=" + mac[1:], date},
		"long signature":      {start + good + "0", date},
		"upper-case hex":      {start + "Access=AK, SignedHeaders=x-sdk-date, Signature=" + strings.Repeat("A", 64), date},
		"more after it":       {start + good + ", Access=BK", date},
		"another order":       {start + "SignedHeaders=x-sdk-date, Access=AK, Signature=" + mac, date},
		"nothing":             {start, date},
		"far too long":        {start + "Access=AK, SignedHeaders=" + strings.Repeat("a;", longestAuth/2) + "x-sdk-date, Signature=" + mac, date},
		"date by a near name": {start + "Access=AK, SignedHeaders=x-sdk-date2, Signature=" + mac, date},
	} {
		if s, err := readSignature(received(t, "", append([]string{"GET / HTTP/1.1"}, lines...)...)); lacre.CodeOf(err) != lacre.CodeSignature {
			t.Errorf("%s: readSignature = %+v, %v, want a refusal", name, s, err)
		}
	}
}

func TestBodyHash(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for given, want := range map[string]string{"": empty, empty: empty, strings.ToUpper(empty): strings.ToUpper(empty), " " + empty + " ": empty} {
		h := http.Header{}
		if given != "" {
			h.Set(hashHeader, given)
		}
		if got, err := bodyHash(h, nil); err != nil || got != want {
			t.Errorf("bodyHash with %q = %q, %v, want %q", given, got, err, want)
		}
	}
	for name, values := range map[string][]string{
		"another body": {empty[1:] + "0"}, "not signed": {"UNSIGNED-PAYLOAD"}, "twice": {empty, empty}, "none": {""}, "cut": {empty[1:]},
	} {
		if _, err := bodyHash(http.Header{hashHeader: values}, nil); lacre.CodeOf(err) != lacre.CodeSignature {
			t.Errorf("%s: error = %v, want a refusal", name, err)
		}
	}
}

// FuzzAuthorizationHeader lets anybody write an Authorization header, a query and a path:
// whatever is taken has its date signed, one key and 32 bytes of signature.
func FuzzAuthorizationHeader(f *testing.F) {
	mac := strings.Repeat("0", 64)
	f.Add("SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature="+mac, "a=b&c", "/v2/p")
	f.Add("SDK-HMAC-SHA256 Access=AK,SignedHeaders=;;x-sdk-date,Signature="+mac, "%zz", "/%2f")
	f.Add("SDK-HMAC-SM3 x", ";", "//")
	f.Add("SDK-HMAC-SHA256 Access=\xff, SignedHeaders=\n, Signature=", "\x00", "")
	f.Fuzz(func(t *testing.T, auth, query, path string) {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Authorization": {auth}, dateHeader: {"20240101T000000Z"}}}
		s, err := readSignature(r)
		if err != nil {
			if lacre.CodeOf(err) != lacre.CodeSignature {
				t.Errorf("error = %v, want a refusal", err)
			}
			return
		}
		text, err := s.stringToSign(r, nil)
		if err == nil && strings.Count(text, "\n") != 2 {
			t.Errorf("the string to sign is %q, want three lines", text)
		}
		if len(s.mac) != 32 || s.key == "" || s.madeWith(decoy, text) {
			t.Errorf("took %+v, want a key and a signature that the decoy does not make", s)
		}
	})
}
