package edge

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httputil"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loopHeader names every edge that a request has come through (RFC 8586). Without it
// one request to a domain whose upstream is the edge itself would go round until it has
// taken every connection there is.
const loopHeader = "Cdn-Loop"

// guarded keeps from the proxy what must not reach any upstream.
func (e *Edge) guarded(proxy *httputil.ReverseProxy) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !asksPath(r):
			refuse(w, http.StatusBadRequest, "The request target is not a path.")
		case siteOf(r.Context()).upstream.leftBy(r.URL.EscapedPath()):
			refuse(w, http.StatusBadRequest, "The path leads out of what this host serves.")
		case fields(r.Header) > maxFields:
			refuse(w, http.StatusRequestHeaderFieldsTooLarge, "The request has too many header fields.")
		case !oneLength(r.Header["Content-Length"]):
			refuse(w, http.StatusBadRequest, "The length of the request is not one number.")
		case e.loops(r):
			refuse(w, http.StatusLoopDetected, "The upstream of this host leads back here.")
		default:
			proxy.ServeHTTP(w, r)
		}
	}
}

// asksPath tells whether the target of a request is a path that can be asked of an
// upstream. One such as "x:http://other/" is opaque to net/url and would be sent as it
// is, naming another host than the one that was checked. HTTP/2 lets through two more: a
// path that is a URL of another host, and a blank, which would end the target of an
// HTTP/1.1 request early.
func asksPath(r *http.Request) bool {
	u := r.URL
	return u.Opaque == "" && (u.Host == "" || u.Host == r.Host) && !strings.Contains(u.RawQuery, " ")
}

// leftBy tells whether a path, behind the one that the upstream's URL has, leads out of that
// once an upstream resolves its dots. Whether it takes an escaped slash or a backslash for a
// separator is not known: what is between two slashes leads down once at most, and up as
// often as any reading has it. Parameters ("..;x") and empty parts count for nothing.
func (u *upstream) leftBy(path string) bool {
	if u.err != nil || strings.Trim(u.url.Path, "/") == "" {
		return false
	}
	depth := 0
	for segment := range strings.SplitSeq(path, "/") {
		down, up := steps(segment)
		if depth -= up; depth < 0 {
			return true
		}
		depth += down
	}
	return false
}

// steps are those that a segment of a path, still escaped, may lead down and up, however often
// a reader takes escapes away. What stands behind a parameter, or what such a reader takes
// for the end of the path, is no name.
func steps(segment string) (down, up int) {
	named := true
	for part := range strings.FieldsFuncSeq(plain(segment), func(c rune) bool { return c == '/' || c == '\\' }) {
		end := strings.IndexAny(part, ";?#\x00")
		if end >= 0 {
			part = part[:end]
		}
		switch part = strings.TrimSpace(part); part {
		case "", ".":
		case "..":
			up++
		default:
			if named {
				down = 1
			}
		}
		named = named && end < 0
	}
	return down, up
}

// plain takes every escape away, also those of escapes, and what readers of URLs as browsers
// have them leave out. What is no escape stays.
func plain(text string) string {
	for range 4 {
		decoded := escape.ReplaceAllStringFunc(text, func(hexadecimal string) string {
			b, _ := hex.DecodeString(hexadecimal[1:]) // two digits
			return string(b)
		})
		if decoded == text {
			break
		}
		text = decoded
	}
	return ignored.Replace(text)
}

var (
	escape  = regexp.MustCompile("%[0-9A-Fa-f]{2}")
	ignored = strings.NewReplacer("\t", "", "\n", "", "\r", "")
)

func fields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// oneLength tells whether Content-Length says one thing, if anything. Over HTTP/1.1 that
// is certain already; of HTTP/2 net/http reads the first field, and nothing as 0.
func oneLength(fields []string) bool {
	if len(fields) == 0 {
		return true
	}
	_, err := strconv.ParseUint(fields[0], 10, 63)
	return len(fields) == 1 && err == nil
}

// loops tells whether a request has come through this edge before.
func (e *Edge) loops(r *http.Request) bool {
	return slices.ContainsFunc(r.Header[loopHeader], func(v string) bool { return strings.Contains(v, e.id) })
}

// checkStatus refuses a status that is none: net/http panics when told to answer with it.
func checkStatus(r *http.Response) error {
	if r.StatusCode < 100 || r.StatusCode > 999 {
		return fmt.Errorf("upstream status %d", r.StatusCode)
	}
	return nil
}
