package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	apig "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/apig/v2"
	roma "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/roma/v2"
)

// fields is a JSON object.
type fields = map[string]any

// service is one of the two services of the SDK for this API, on a lacre of its own.
//
// Their clients have the same operations with the same fields but no type in common, so
// operations are called by name: a request is given as JSON, decoded into the SDK's
// model, sent by the SDK, and what the SDK has parsed of the answer is encoded again.
type service struct {
	*testing.T
	*lacre
	name   string
	client any // *apig.ApigClient or *roma.RomaClient
	ca     *authority
	began  time.Time
}

const (
	apigw = "apig" // API Gateway
	apic  = "roma" // ROMA Connect
)

// forBoth runs a test with either service.
func forBoth(t *testing.T, run func(s *service)) {
	for _, name := range []string{apigw, apic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := start(t)
			run(&service{T: t, lacre: l, name: name, client: l.client(t, name), ca: newAuthority(t), began: time.Now()})
		})
	}
}

func (l *lacre) client(t *testing.T, name string) any {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(l.AccessKey).WithSk(l.SecretKey).WithProjectId(l.ProjectID).SafeBuild()
	if err != nil {
		t.Fatalf("credentials: %v", err)
	}
	builder := core.NewHcHttpClientBuilder().WithEndpoint(l.URL).WithCredential(credentials)
	client, err := builder.SafeBuild()
	if err != nil {
		t.Fatalf("building a client: %v", err)
	}
	if name == apic {
		return roma.NewRomaClient(client)
	}
	return apig.NewApigClient(client)
}

// do calls an operation. The result is what the SDK has parsed, with the status
// of HTTP as "HTTP".
func (s *service) do(operation string, in fields) (fields, error) {
	s.Helper()
	method := reflect.ValueOf(s.client).MethodByName(operation)
	if !method.IsValid() {
		s.Fatalf("the %s service has no operation %s", s.name, operation)
	}
	request := reflect.New(method.Type().In(0).Elem())
	strict := json.NewDecoder(bytes.NewReader(s.encoded(in)))
	strict.DisallowUnknownFields()
	if err := strict.Decode(request.Interface()); err != nil {
		s.Fatalf("%s: the request does not fit the SDK's model: %v", operation, err)
	}
	results := method.Call([]reflect.Value{request})
	if err, failed := results[1].Interface().(error); failed {
		return nil, err
	}
	out := s.plain(results[0].Interface())
	out["HTTP"] = float64(results[0].Elem().FieldByName("HttpStatusCode").Int())
	return out, nil
}

// ok calls an operation that has to succeed.
func (s *service) ok(operation string, in fields) fields {
	s.Helper()
	out, err := s.do(operation, in)
	if err != nil {
		s.Fatalf("%s: %v", operation, err)
	}
	return out
}

// gives calls an operation and compares everything that the SDK has parsed.
func (s *service) gives(want fields, operation string, in fields) {
	s.Helper()
	s.equal(operation, s.ok(operation, in), want)
}

// refusals are the documented status and text of each error code.
var refusals = map[string]struct {
	status int
	text   string
}{
	"APIG.2000":  {400, "no valid domain name"},
	"APIG.2011":  {400, "Invalid parameter value,parameterName:"},
	"APIG.2012":  {400, "Invalid parameter value,parameterName:"},
	"APIG.2024":  {400, "Invalid URL domain"},
	"APIG.2051":  {400, "A domain name cannot be bound with different certificates"},
	"APIG.2101":  {400, "The certificate and private key do not match"},
	"APIG.2102":  {400, "The certificate has expired"},
	"APIG.2103":  {400, "The certificate domain name and the custom domain name do not match"},
	"APIG.2106":  {400, "Invalid certificate or private key"},
	"APIG.3201":  {400, "The API group name already exists"},
	"APIG.3305":  {400, "The URL domain name already exists"},
	"APIG.3325":  {400, "The SSL certificate name already exists"},
	"APIG.3474":  {400, "The API group ID in the URL does not match the API group to which the URL domain has been bound"},
	"APIGW.0301": {401, "Incorrect IAM authentication information: "},
	"APIG.1005":  {403, "No permissions to request this method"},
	"APIG.3108":  {403, "The number of domain names exceeds the maximum allowed limit"},
	"APIG.3400":  {403, "The resource cannot be changed."},
	"APIG.3001":  {404, "API group "},
	"APIG.3020":  {404, "The URL domain does not exist"},
	"APIG.3021":  {404, "The SSL certificate does not exist"},
	"APIG.3030":  {404, "The instance does not exist;id:elsewhere"},
	"APIG.3097":  {404, "The binding record of this SSL certificate and domain name does not exist"},
	"APIGW.0101": {404, "The API does not exist or has not been published in the environment."},
	"APIG.3458":  {412, "The feature is not supported by the current instance."},
	"APIG.3709":  {409, "The signature algorithm of the certificate does not match"},
}

// refused calls an operation that has to fail with a code, and checks the whole error
// that the SDK has parsed. A message may go on after the documented text.
func (s *service) refused(code, operation string, in ...fields) {
	s.Helper()
	_, err := s.do(operation, with(in...))
	got, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
	if !ok {
		s.Errorf("%s: got %v, want %s", operation, err, code)
		return
	}
	want := sdkerr.ServiceResponseError{StatusCode: refusals[code].status, ErrorCode: code, RequestId: got.RequestId, ErrorMessage: got.ErrorMessage}
	if diff := cmp.Diff(want, *got); diff != "" {
		s.Errorf("%s: error (-want +got):\n%s", operation, diff)
	}
	if !strings.HasPrefix(got.ErrorMessage, refusals[code].text) {
		s.Errorf("%s: got message %q, want one that begins with %q", operation, got.ErrorMessage, refusals[code].text)
	}
	if !hexID.MatchString(got.RequestId) {
		s.Errorf("%s: got request id %q, want 32 hexadecimal digits", operation, got.RequestId)
	}
}

// message checks the text of an error where a client reads it.
func (s *service) message(err error, want string) {
	s.Helper()
	got, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
	if !ok || got.StatusCode != 404 || got.ErrorCode != "APIG.3021" || got.ErrorMessage != want {
		s.Errorf("got error %v, want 404 APIG.3021 %s", err, want)
	}
}

// hexID is the form of the ids that a server chooses.
var hexID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (s *service) equal(what string, got, want fields) {
	s.Helper()
	if diff := cmp.Diff(s.plain(want), got); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// plain is v as what encoding/json makes of its JSON.
func (s *service) plain(v any) fields {
	s.Helper()
	out := fields{}
	if err := json.Unmarshal(s.encoded(v), &out); err != nil {
		s.Fatal(err)
	}
	return out
}

func (s *service) encoded(v any) []byte {
	s.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// id is the id in an answer, 32 hexadecimal digits.
func (s *service) id(got fields) string {
	s.Helper()
	id, _ := got["id"].(string)
	if !hexID.MatchString(id) {
		s.Fatalf("got id %q, want 32 hexadecimal digits", got["id"])
	}
	return id
}

// recent is a time in an answer, which has to lie between the start of the test and now.
// Answers have whole seconds.
func (s *service) recent(got fields, name string) string {
	s.Helper()
	text, _ := got[name].(string)
	at, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil || at.Before(s.began.Truncate(time.Second)) || at.After(time.Now()) {
		s.Errorf("got %s %q, want a UTC time since %v", name, text, s.began)
	}
	return text
}

// only keeps entries that only one of the services has.
func (s *service) only(name string, entries fields) fields {
	if s.name != name {
		return nil
	}
	return entries
}

// with is the union of objects; later ones win.
func with(objects ...fields) fields {
	out := fields{}
	for _, o := range objects {
		maps.Copy(out, o)
	}
	return out
}
