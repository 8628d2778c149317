package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"lacre"
)

// recorder remembers what the access log and the metrics need of an answer.
type recorder struct {
	http.ResponseWriter
	requestID string
	caller    lacre.Caller // zero until authenticated
	code      string       // error_code of the answer
	status    int          // 0 until the header is written
	bytes     int
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(b)
	rec.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

var cleanRequestID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ServeHTTP is what every request passes through.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, requestID: r.Header.Get("X-Request-Id")}
	if !cleanRequestID.MatchString(rec.requestID) {
		rec.requestID = lacre.NewID()
	}
	header := w.Header()
	header.Set("X-Request-Id", rec.requestID)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	start := s.Now()
	defer func() {
		s.recovered(rec, r, recover())
		s.account(rec, r, s.Now().Sub(start))
	}()
	if m, long := tooLong(r); long {
		header.Set("Connection", "close")
		rec.refuse(m, m.text)
		return
	}
	// ServeMux answers an unclean path with a redirect, which clients of this API take
	// for success.
	if escaped := r.URL.EscapedPath(); !strings.HasPrefix(escaped, "/") || escaped != clean(escaped) {
		s.noRoute(rec, r)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// longest is how many bytes the target of a request may have, and its header fields: what
// the gateway in front of the compatible API takes. The server that calls the handler has
// to let more through, so that the refusal has the form of all others.
const longest = 32 << 10

// tooLong tells whether a request has more of either, and how that is said.
func tooLong(r *http.Request) (m meaning, long bool) {
	if len(r.RequestURI) > longest {
		return longURI, true
	}
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(": \r\n") + len(value)
		}
	}
	return longHeader, size > longest
}

// clean is path.Clean, except that a final slash stays: no route has one.
func clean(p string) string {
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// recovered answers for a handler that panicked with v. The value is logged only when
// the runtime made it: any other could carry what the request said.
func (s *server) recovered(rec *recorder, r *http.Request, v any) {
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	what := fmt.Sprintf("a value of type %T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	s.Log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("what", what),
		slog.String("request_id", rec.requestID), slog.String("stack", string(debug.Stack())))
	if rec.status == 0 {
		rec.fail(lacre.Errorf(lacre.CodeInternal, ""))
	}
}

// account writes the access log line and counts the request. Neither contains the raw
// path or query: clients put secrets in the oddest places.
func (s *server) account(rec *recorder, r *http.Request, took time.Duration) {
	route := "unmatched"
	if _, pattern, ok := strings.Cut(r.Pattern, "/"); ok && pattern != "" {
		route = "/" + pattern
	}
	s.metrics.request(route, r.Method, rec.status, took)
	level := slog.LevelInfo
	if strings.HasPrefix(r.Pattern, "GET /") && !strings.HasPrefix(route, "/v") {
		level = slog.LevelDebug // probes and scrapes come every few seconds
	}
	s.Log.LogAttrs(r.Context(), level, "request",
		slog.String("method", r.Method), slog.String("route", route), slog.Int("status", rec.status),
		slog.String("code", rec.code), slog.Duration("took", took), slog.Int("bytes", rec.bytes),
		slog.String("project", rec.caller.ProjectID), slog.String("user", rec.caller.UserName),
		slog.String("source", source(r)), slog.String("request_id", rec.Header().Get("X-Request-Id")))
}

// source is the address of the peer. Forwarding headers are not believed: anyone can
// write them, and this ends up in the audit.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// identity passes a request on to IAM, which may give it an id of its own.
func (s *server) identity(w http.ResponseWriter, r *http.Request) {
	if !s.identify.take(place(r), s.Now()) {
		s.identityThrottled(w.(*recorder))
		return
	}
	s.limitBody(w.(*recorder), r, s.MaxBody)
	s.IAM.ServeHTTP(w, r)
}

// noRoute answers for every path and every method that is not in the table, 405 included:
// so does the gateway in front of the compatible API.
func (s *server) noRoute(w http.ResponseWriter, _ *http.Request) {
	w.(*recorder).fail(lacre.Errorf(lacre.CodeRouteNotFound, ""))
}

// writeJSON answers with body as JSON. Header fields other than the type must be set.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(text, '\n')) // a client that went away has nothing to be told
	return nil
}
