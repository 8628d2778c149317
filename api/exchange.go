package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"lacre"
)

// exchange is one authenticated request on its way to the Service.
type exchange struct {
	*http.Request
	*server
	product product
	caller  lacre.Caller
	project string
	// What the path names, "" where it does not. Operations without an instance in the
	// path set the one that their body or query names, for the error that there is none.
	instance, group, domain, certificate string
	missing                              string // how to say that the certificate does not exist; empty: as usual
	body                                 []byte // as received
	leave                                func() // gives back the place among the requests being worked on
	query                                url.Values
}

// reply is the answer of an operation that succeeded.
type reply struct {
	status   int
	body     any    // nil: none
	etag     string // of the certificate in the body; empty: none
	warnings []string
	dryRun   bool
	waited   time.Duration // for every node, as Prefer asked; 0: it did not
}

// showing answers with v in the shape that of gives it, unless err is there.
func showing[T, U any](status int, of func(T) U, v T, err error, warnings ...string) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{status: status, body: of(v), warnings: warnings}, nil
}

// noContent is the answer of an operation that has nothing to show, unless err is there.
func noContent(warnings []string, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusNoContent, warnings: warnings}, nil
}

// operation serves one route of one product: it reads the body, asks who is calling,
// and lets the route do the rest.
func (s *server) operation(p product, route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := w.(*recorder)
		out, err := s.serve(rec, r, p, route)
		if err == nil {
			err = out.write(rec)
		}
		if err != nil {
			e := coded(err)
			s.report(r, rec.requestID, e)
			rec.fail(e)
		}
	})
}

// serve takes a request as far as the Service and back. The body is read before anyone
// knows who sent it, within the bounds of limitBody; it is parsed only afterwards.
func (s *server) serve(rec *recorder, r *http.Request, p product, route route) (*reply, error) {
	body, err := s.readBody(rec, r, max(s.MaxBody, route.larger))
	if err != nil {
		return nil, err
	}
	done, err := s.slot(r.Context())
	if err != nil {
		return nil, err
	}
	done = sync.OnceFunc(done)
	defer done()
	caller, err := s.authenticate(r)
	if err != nil {
		return nil, err
	}
	caller.RequestID, caller.Source = rec.requestID, source(r)
	rec.caller = caller
	x := &exchange{Request: r, server: s, product: p, caller: caller, project: r.PathValue("project_id"), body: body, leave: done}
	out, err := x.serve(route)
	if err != nil {
		return nil, x.phrased(coded(err))
	}
	return out, nil
}

// serve checks what all operations have in common, then lets the route's own go on.
func (x *exchange) serve(route route) (*reply, error) {
	if err := x.readPath(); err != nil {
		return nil, err
	}
	if err := x.readQuery(route); err != nil {
		return nil, err
	}
	return route.serve(x)
}

// limitBody bounds how much a client can send, in bytes, and for how long.
func (s *server) limitBody(rec *recorder, r *http.Request, most int64) {
	// Not every ResponseWriter has deadlines (those of tests have none).
	_ = http.NewResponseController(rec).SetReadDeadline(time.Now().Add(s.BodyTime))
	// MaxBytesReader closes the connection only when it is given the server's own writer.
	r.Body = http.MaxBytesReader(rec.ResponseWriter, r.Body, most)
}

// readBody reads the body once and leaves it in r for the Authenticator, which may have
// to hash it.
func (s *server) readBody(rec *recorder, r *http.Request, most int64) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, lacre.FieldErrorf(lacre.CodeMalformed, "Content-Encoding", "expected a body that is not compressed")
	}
	s.limitBody(rec, r, most)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, lacre.Errorf(lacre.CodeTooLarge, "At most %d bytes are accepted.", tooLarge.Limit)
		}
		return nil, lacre.Errorf(lacre.CodeMalformed, "the body did not arrive whole")
	}
	// The server watches the connection while the handler works: that has no deadline.
	_ = http.NewResponseController(rec).SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// slot waits for one of the places of requests being worked on. It is taken after the
// body has arrived, so that slow senders hold none.
func (s *server) slot(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(s.QueueTime)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-wait.C:
		return nil, s.throttled("places")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readQuery parses the query string. A parameter that is not understood is ignored, as
// the compatible API does, except one that asks for nothing to be changed.
func (x *exchange) readQuery(route route) error {
	var err error
	if x.query, err = url.ParseQuery(x.URL.RawQuery); err != nil {
		return lacre.FieldErrorf(lacre.CodeInvalidParameter, "query", "it is not percent-encoded correctly")
	}
	if x.query.Has("dry_run") && !route.dryRun {
		return lacre.FieldErrorf(lacre.CodeInvalidParameter, "dry_run", "only creating, modifying and rolling back a certificate can be tried out")
	}
	return nil
}

var plainID = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`)

// readPath takes the ids from the path. One that cannot be an id is that of something
// which does not exist, and never gets as far as the store.
func (x *exchange) readPath() error {
	for _, part := range []struct {
		name    string
		id      *string
		missing lacre.Code
	}{
		{"instance_id", &x.instance, lacre.CodeInstanceNotFound},
		{"group_id", &x.group, lacre.CodeGroupNotFound},
		{"domain_id", &x.domain, lacre.CodeDomainNotFound},
		{"certificate_id", &x.certificate, lacre.CodeCertificateNotFound},
	} {
		*part.id = x.PathValue(part.name)
		named := strings.Contains(x.Pattern, "{"+part.name+"}")
		if named && !plainID.MatchString(*part.id) {
			return lacre.Errorf(part.missing, "")
		}
	}
	return nil
}

// page is the window of a list: the Service clamps it.
func (x *exchange) page() (lacre.Page, error) {
	offset, err := x.number("offset")
	if err != nil {
		return lacre.Page{}, err
	}
	limit, err := x.number("limit")
	return lacre.Page{Offset: offset, Limit: limit}, err
}

// number is a query parameter that is a whole number, 0 when absent or empty.
func (x *exchange) number(name string) (int, error) {
	text := x.query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, lacre.FieldErrorf(lacre.CodeInvalidParameter, name, "expected a whole number")
	}
	return n, nil
}

// truth is a boolean query parameter, false when it is absent.
func (x *exchange) truth(name string) (bool, error) {
	if !x.query.Has(name) {
		return false, nil
	}
	switch x.query.Get(name) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, lacre.FieldErrorf(lacre.CodeInvalidParameter, name, "expected true or false")
}

// write sends the answer. It fails only before the first byte.
func (out *reply) write(rec *recorder) error {
	header := rec.Header()
	for _, w := range out.warnings {
		header.Add("X-Lacre-Warning", headerText(w))
	}
	if out.etag != "" {
		header.Set("ETag", out.etag)
	}
	if out.dryRun {
		header.Set("X-Lacre-Dry-Run", "true")
	}
	if out.waited > 0 {
		header.Set("Preference-Applied", fmt.Sprintf("wait=%d", out.waited/time.Second))
	}
	if out.body == nil {
		rec.WriteHeader(out.status)
		return nil
	}
	return writeJSON(rec, out.status, out.body)
}

// headerText makes text fit for one header field: what is not printable ASCII, and the
// percent sign itself, is percent-encoded as UTF-8.
func headerText(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
