package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lacre"
)

// exchange is one authenticated request on its way to the Service.
type exchange struct {
	*http.Request
	*server
	product  product
	caller   lacre.Caller
	project  string
	instance string // the instance the request names, for the error that it does not exist
	missing  string // how to say that the certificate does not exist; empty: as usual
	body     []byte // as received
	query    url.Values
}

// reply is the answer of an operation that succeeded.
type reply struct {
	status      int
	body        any // nil: none
	certificate *lacre.Certificate
	warnings    []string
	dryRun      bool
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

func (s *server) serve(rec *recorder, r *http.Request, p product, route route) (*reply, error) {
	body, err := s.readBody(rec, r)
	if err != nil {
		return nil, err
	}
	done, err := s.slot(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	caller, err := s.Auth.Authenticate(r)
	if err != nil {
		return nil, saying(coded(err), lacre.CodeUnavailable, "Nothing was changed.")
	}
	caller.RequestID, caller.Source = rec.requestID, source(r)
	rec.caller = caller
	x := &exchange{
		Request: r, server: s, product: p, caller: caller, project: r.PathValue("project_id"),
		instance: r.PathValue("instance_id"), body: body,
	}
	if err := x.readQuery(route); err != nil {
		return nil, err
	}
	out, err := route.serve(x)
	if err != nil {
		return nil, x.phrased(coded(err))
	}
	return out, nil
}

// limitBody bounds how much a client can send, and for how long.
func (s *server) limitBody(rec *recorder, r *http.Request) {
	// Not every ResponseWriter has deadlines (those of tests have none).
	_ = http.NewResponseController(rec).SetReadDeadline(time.Now().Add(s.BodyTime))
	// MaxBytesReader closes the connection only when it is given the server's own writer.
	r.Body = http.MaxBytesReader(rec.ResponseWriter, r.Body, s.MaxBody)
}

// readBody reads the body once and leaves it in r for the Authenticator, which may have
// to hash it.
func (s *server) readBody(rec *recorder, r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, lacre.FieldErrorf(lacre.CodeMalformed, "Content-Encoding", "expected a body that is not compressed")
	}
	s.limitBody(rec, r)
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

// slot waits for one of the places of requests being worked on.
func (s *server) slot(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(s.QueueTime)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-wait.C:
		return nil, lacre.Errorf(lacre.CodeThrottled, "")
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
		return lacre.FieldErrorf(lacre.CodeInvalidParameter, "dry_run", "only creating and modifying a certificate can be tried out")
	}
	return nil
}

var plainID = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`)

// id is a path parameter. One that cannot be an id is that of something which does not
// exist, and never gets as far as the store.
func (x *exchange) id(name string, missing lacre.Code) (string, error) {
	id := x.PathValue(name)
	if !plainID.MatchString(id) {
		return "", lacre.Errorf(missing, "")
	}
	return id, nil
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

func (out *reply) write(rec *recorder) error {
	header := rec.Header()
	for _, w := range out.warnings {
		header.Add("X-Lacre-Warning", headerText(w))
	}
	if out.certificate != nil {
		header.Set("ETag", etag(out.certificate.Generation))
	}
	if out.dryRun {
		header.Set("X-Lacre-Dry-Run", "true")
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
