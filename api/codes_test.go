package api_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/api"
)

const (
	documentation = ". Please refer to the support documentation: the reason"
	field         = ",parameterName:some_field" + documentation
	explained     = "some_field: the reason"
)

// wire is what each code becomes, for an error about some_field with "the reason".
var wire = map[lacre.Code]struct {
	status  int
	number  string
	message string
}{
	lacre.CodeMalformed:            {400, "APIG.2000", "Parameter error" + field},
	lacre.CodeMissing:              {400, "APIG.2001", "The request parameters must be specified" + field},
	lacre.CodeInvalidField:         {400, "APIG.2011", "Invalid parameter value" + field},
	lacre.CodeInvalidParameter:     {400, "APIG.2012", "Invalid parameter value" + field},
	lacre.CodeImmutable:            {400, "APIG.2012", "Invalid parameter value" + field},
	lacre.CodeTooLarge:             {413, "APIGW.0201", "Request entity too large. " + explained},
	lacre.CodeUnsupportedKind:      {412, "APIG.3458", "The feature is not supported by the current instance. " + explained},
	lacre.CodeTokenMissing:         {401, "APIG.1000", "Token missing. Log in again or try again later."},
	lacre.CodeTokenExpired:         {401, "APIG.1001", "Session expired. Please try again later."},
	lacre.CodeTokenInvalid:         {401, "APIG.1002", "Incorrect token or token resolution failed"},
	lacre.CodeNoProject:            {401, "APIG.1003", "The token does not contain project information. Ask for one with a project scope."},
	lacre.CodeForbidden:            {403, "APIG.1005", "No permissions to request this method"},
	lacre.CodeSignature:            {401, "APIGW.0301", "the reason"},
	lacre.CodeSignatureExpired:     {401, "APIGW.0301", "the reason"},
	lacre.CodeKeyUnknown:           {401, "APIGW.0301", "the reason"},
	lacre.CodeKeyLocked:            {401, "APIGW.0301", "the reason"},
	lacre.CodeThrottled:            {500, "APIG.9008", "Too many requests. Try again later."},
	lacre.CodeCertificateNotFound:  {404, "APIG.3021", "the reason"},
	lacre.CodeInstanceNotFound:     {404, "APIG.3030", "the reason"},
	lacre.CodeGroupNotFound:        {404, "APIG.3001", "the reason"},
	lacre.CodeDomainNotFound:       {404, "APIG.3020", "The URL domain does not exist: " + explained},
	lacre.CodeBindingNotFound:      {404, "APIG.3097", "The binding record of this SSL certificate and domain name does not exist"},
	lacre.CodeNothingBound:         {400, "APIG.2000", "no valid domain name: " + explained},
	lacre.CodeRouteNotFound:        {404, "APIGW.0101", "The API does not exist or has not been published in the environment."},
	lacre.CodeCertificateNameTaken: {400, "APIG.3325", "The SSL certificate name already exists: " + explained},
	lacre.CodeInstanceNameTaken:    {400, "APIG.2011", "Invalid parameter value" + field},
	lacre.CodeGroupNameTaken:       {400, "APIG.3201", "The API group name already exists: " + explained},
	lacre.CodeDomainTaken:          {400, "APIG.3305", "The URL domain name already exists: " + explained},
	lacre.CodeDomainInvalid:        {400, "APIG.2024", "Invalid URL domain name: " + explained},
	lacre.CodeDomainQuota:          {403, "APIG.3108", "The number of domain names exceeds the maximum allowed limit: " + explained},
	lacre.CodeGroupQuota:           {403, "APIG.3101", "The number of API groups exceeds the maximum allowed limit: " + explained},
	lacre.CodeQuota:                {403, "APIG.3100", "The number of resources exceeds the maximum allowed limit: " + explained},
	lacre.CodeGroupMismatch:        {400, "APIG.3474", "The API group ID in the URL does not match the API group to which the URL domain has been bound"},
	lacre.CodeInUse:                {403, "APIG.3400", "The resource cannot be changed. " + explained},
	lacre.CodeSameAlgorithm:        {400, "APIG.2051", "A domain name cannot be bound with different certificates of one algorithm type: " + explained},
	lacre.CodePrecondition:         {412, "LACRE.0412", "The resource has changed since it was read: " + explained},
	lacre.CodeContended:            {500, "APIG.3500", "Failed to synchronize data to etcd. Too many concurrent changes: nothing was changed, try again."},
	lacre.CodeUnreadable:           {500, "APIG.9999", "System error. What was being served goes on being served. " + explained},
	lacre.CodeUnavailable:          {500, "APIG.3500", "Failed to synchronize data to etcd. Nothing was changed."},
	lacre.CodeInternal:             {500, "APIG.9999", "System error"},
	lacre.CodeIAMUnavailable:       {500, "APIG.9004", "IAM request failed."},
	lacre.CodeNotCovered:           {400, "APIG.2103", "The certificate domain name and the custom domain name do not match: " + explained},
	lacre.CodeKeyMismatch:          {400, "APIG.2101", "The certificate and private key do not match: " + explained},
	lacre.CodeExpired:              {400, "APIG.2102", "The certificate has expired: " + explained},
	lacre.CodeBrokenChain:          {400, "APIG.2104", "The certificate chain is not matched: " + explained},
	lacre.CodeEncryptedKey:         {400, "APIG.2105", "Encrypted private keys are not supported: " + explained},
	lacre.CodeInvalidPair:          {400, "APIG.2106", "Invalid certificate or private key: " + explained},
	lacre.CodeNoSAN:                {400, "APIG.2109", "Invalid certificate. SAN missing: " + explained},
	lacre.CodeAfter2038:            {400, "APIG.3148", "Invalid certificate. Add one that expires before January 19, 2038 03:14:07 UTC: " + explained},
	lacre.CodeWrongAlgorithm:       {409, "APIG.3709", "The signature algorithm of the certificate does not match: " + explained},
	lacre.CodeWrongUsage:           {409, "APIG.3708", "The key usage of the certificate does not match: " + explained},
	"a code of tomorrow":           {500, "APIG.9999", "System error"},
}

func TestCodesOnTheWire(t *testing.T) {
	w := newWorld(t)
	for code, want := range wire {
		// createCertificate documents every status there is.
		a := w.as("code."+string(code)).post("/certificates", obj{})
		got := a.object()
		if a.StatusCode != want.status || got["error_code"] != want.number || got["error_msg"] != want.message {
			t.Errorf("%s: got %d %v %q, want %v", code, a.StatusCode, got["error_code"], got["error_msg"], want)
		}
		failed := strings.Contains(w.log.String(), "level=ERROR msg=failed code="+logged(code))
		if wants := want.status == 500 && code != lacre.CodeThrottled; failed != wants {
			t.Errorf("%s: got it logged as a failure: %t, want %t", code, failed, wants)
		}
		if wants := want.status == 401; (a.Header.Get("WWW-Authenticate") != "") != wants {
			t.Errorf("%s: got WWW-Authenticate %q, want one exactly with 401", code, a.Header.Get("WWW-Authenticate"))
		}
		if wants := code == lacre.CodeThrottled || code == lacre.CodeContended; (a.Header.Get("Retry-After") != "") != wants {
			t.Errorf("%s: got Retry-After %q, want one: %t", code, a.Header.Get("Retry-After"), wants)
		}
	}
}

// logged is a code as the text handler writes it.
func logged(code lacre.Code) string {
	if strings.Contains(string(code), " ") {
		return quote(code)
	}
	return string(code) + " "
}

func TestUnforeseenErrorsShowNothingAndAreLoggedOnce(t *testing.T) {
	w := newWorld(t)
	a := w.as("bug").get("/certificates/abc", "X-Request-Id", "find-me")
	if diff := cmp.Diff(obj{"error_code": "APIG.9999", "error_msg": "System error", "request_id": "find-me"}, a.object()); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
	if got := strings.Count(w.log.String(), "an unforeseen thing"); got != 1 {
		t.Errorf("got the cause %d times in the log, want once:\n%s", got, w.log)
	}
	if !strings.Contains(w.log.String(), "request_id=find-me") {
		t.Errorf("got no request id in the log:\n%s", w.log)
	}
}

func TestRefusalsAreNotLoggedAsFailures(t *testing.T) {
	w := newWorld(t)
	w.get("/certificates/abc").refused(404, "APIG.3021")
	if strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("got an error in the log for a client's mistake:\n%s", w.log)
	}
}

func TestCallersWithoutAProvenPlaceAreRefused(t *testing.T) {
	w := newWorld(t)
	other := lacre.NewID()
	w.as("").get("/certificates/abc").refused(401, "APIG.1000")
	w.as("nonsense").get("/certificates/abc").refused(401, "APIG.1002")
	w.as("unscoped").get("/certificates/abc").refused(401, "APIG.1003")
	w.as("admin."+other).get("/certificates/abc").refused(403, "APIG.1005")
	w.as("nobody."+w.project).get("/certificates/abc").refused(401, "APIG.1002")
	w.as("viewer."+w.project).delete("/certificates/abc").refused(403, "APIG.1005")
}

// faulty is the store with one thing going wrong.
type faulty struct {
	lacre.Store
	mu     sync.Mutex
	commit func(lacre.Tx, func() (int64, error)) (int64, error)
	read   func(id string) error
}

func (f *faulty) inject(commit func(lacre.Tx, func() (int64, error)) (int64, error), read func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit, f.read = commit, read
}

func (f *faulty) Commit(ctx context.Context, tx lacre.Tx) (int64, error) {
	f.mu.Lock()
	commit := f.commit
	f.mu.Unlock()
	if commit == nil {
		return f.Store.Commit(ctx, tx)
	}
	return commit(tx, func() (int64, error) { return f.Store.Commit(ctx, tx) })
}

func (f *faulty) Certificate(ctx context.Context, projectID, id string) (*lacre.Certificate, error) {
	f.mu.Lock()
	read := f.read
	f.mu.Unlock()
	if read != nil {
		if err := read(id); err != nil {
			return nil, err
		}
	}
	return f.Store.Certificate(ctx, projectID, id)
}

func TestStoreFaults(t *testing.T) {
	f := &faulty{Store: shared.store}
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) { c.Store = f })
	form := w.form("cert_one", "www.a.test")
	id := w.post("/certificates", form).ok(200).text("id")
	down := func(string) error { return lacre.ErrUnavailable }
	unknown := "The outcome of this change is unknown"

	t.Run("away when reading", func(t *testing.T) {
		f.inject(nil, down)
		w.get("/certificates/"+id).refused(500, "APIG.3500", "Failed to synchronize data to etcd.")
		if got := w.get("/certificates/" + id).text("error_msg"); strings.Contains(got, "change") {
			t.Errorf("got %q for a read, want nothing about a change", got)
		}
		w.as("store-down").put("/certificates/"+id, form).refused(500, "APIG.3500", "Nothing was changed.")
	})
	t.Run("a lost write", func(t *testing.T) {
		f.inject(func(lacre.Tx, func() (int64, error)) (int64, error) { return 0, lacre.ErrUnavailable }, nil)
		w.put("/certificates/"+id, form).refused(500, "APIG.3500", unknown)
	})
	t.Run("a write applied but reported failed", func(t *testing.T) {
		f.inject(func(_ lacre.Tx, do func() (int64, error)) (int64, error) {
			_, err := do()
			return 0, errors.Join(lacre.ErrUnavailable, err)
		}, nil)
		renamed := w.form("cert_two", "www.a.test")
		w.put("/certificates/"+id, renamed).refused(500, "APIG.3500", unknown)
		f.inject(nil, nil)
		if got, want := w.get("/certificates/"+id).ok(200).text("name"), "cert_two"; got != want {
			t.Errorf("got name %s, want %s: the write was applied", got, want)
		}
	})
	t.Run("always overtaken", func(t *testing.T) {
		f.inject(func(tx lacre.Tx, _ func() (int64, error)) (int64, error) {
			return 0, &lacre.ConflictError{Record: &lacre.Certificate{}}
		}, nil)
		w.put("/certificates/"+id, form).refused(500, "APIG.3500", "nothing was changed")
	})
	t.Run("a damaged record", func(t *testing.T) {
		f.inject(nil, func(string) error {
			return &lacre.UnreadableError{Record: &lacre.Certificate{}, Key: "/some/key", Err: errors.New("bad magic")}
		})
		a := w.get("/certificates/" + id)
		a.refused(500, "APIG.9999", "damaged", "backup")
		if strings.Contains(string(a.raw), "/some/key") {
			t.Errorf("got the store's key in the answer: %s", a.raw)
		}
		if !strings.Contains(w.log.String(), "bad magic") {
			t.Errorf("got no cause in the log")
		}
	})
	f.inject(nil, nil)
}
