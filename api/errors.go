package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"lacre"
)

// meaning is how one lacre.Code is said on the wire. Numbers and texts are those of the
// APIG error code table, or of its front gateway for APIGW numbers; LACRE numbers are
// extensions.
type meaning struct {
	status int
	number string
	text   string
	detail detail
}

// detail says what of an error follows the text of its meaning.
type detail int

const (
	explained detail = iota // field and message
	named                   // parameterName, then the message: the APIG form for bad values
	bare                    // nothing: the reason is not for the client, or adds nothing
	instead                 // the message, when there is one, takes the place of the text
)

const (
	badValue     = "Invalid parameter value"
	badSignature = "Incorrect IAM authentication information"
)

var meanings = map[lacre.Code]meaning{
	// What the request itself says. 2011 is for members of the body, 2012 for everything
	// else; the API's own pages draw no clean line.
	lacre.CodeMalformed:        {400, "APIG.2000", "Parameter error", named},
	lacre.CodeMissing:          {400, "APIG.2001", "The request parameters must be specified", named},
	lacre.CodeInvalidField:     {400, "APIG.2011", badValue, named},
	lacre.CodeInvalidParameter: {400, "APIG.2012", badValue, named},
	lacre.CodeImmutable:        {400, "APIG.2012", badValue, named},
	lacre.CodeTooLarge:         {413, "APIGW.0201", "Request entity too large.", explained},
	lacre.CodeUnsupportedKind:  {412, "APIG.3458", "The feature is not supported by the current instance.", explained},

	// Who sends it. None of these says more than it must: not why a token is bad, nor
	// whether another project exists. There is no 429: on one, Terraform waits for
	// minutes, on 500 for seconds.
	lacre.CodeTokenMissing: {401, "APIG.1000", "Token missing. Log in again or try again later.", bare},
	lacre.CodeTokenExpired: {401, "APIG.1001", "Session expired. Please try again later.", bare},
	lacre.CodeTokenInvalid: {401, "APIG.1002", "Incorrect token or token resolution failed", bare},
	lacre.CodeNoProject:    {401, "APIG.1003", "The token does not contain project information. Ask for one with a project scope.", bare},
	lacre.CodeForbidden:    {403, "APIG.1005", "No permissions to request this method", bare},
	lacre.CodeThrottled:    {500, "APIG.9008", "Too many requests. Try again later.", bare},

	lacre.CodeSignature:        {401, "APIGW.0301", badSignature, instead},
	lacre.CodeSignatureExpired: {401, "APIGW.0301", badSignature, instead},
	lacre.CodeKeyUnknown:       {401, "APIGW.0301", badSignature, instead},
	lacre.CodeKeyLocked:        {401, "APIGW.0301", badSignature, instead},

	// What is not there. 404 makes Terraform drop a resource from its state, and 2000
	// tells it on detach that nothing is left to do.
	lacre.CodeCertificateNotFound: {404, "APIG.3021", "The SSL certificate does not exist", instead},
	lacre.CodeInstanceNotFound:    {404, "APIG.3030", "The instance does not exist", instead},
	lacre.CodeGroupNotFound:       {404, "APIG.3001", "The API group does not exist", instead},
	lacre.CodeDomainNotFound:      {404, "APIG.3020", "The URL domain does not exist", explained},
	lacre.CodeBindingNotFound:     {404, "APIG.3097", "The binding record of this SSL certificate and domain name does not exist", bare},
	lacre.CodeNothingBound:        {400, "APIG.2000", "no valid domain name", explained},
	lacre.CodeRouteNotFound:       {404, "APIGW.0101", "The API does not exist or has not been published in the environment.", bare},

	// What is in the way. The numbers of a taken certificate name (a sample on the API
	// page), of a certificate in use and of If-Match are choices: the table has none.
	lacre.CodeCertificateNameTaken: {400, "APIG.3325", "The SSL certificate name already exists", explained},
	lacre.CodeInstanceNameTaken:    {400, "APIG.2011", badValue, named},
	lacre.CodeGroupNameTaken:       {400, "APIG.3201", "The API group name already exists", explained},
	lacre.CodeDomainTaken:          {400, "APIG.3305", "The URL domain name already exists", explained},
	lacre.CodeDomainInvalid:        {400, "APIG.2024", "Invalid URL domain name", explained},
	lacre.CodeDomainQuota:          {403, "APIG.3108", "The number of domain names exceeds the maximum allowed limit", explained},
	lacre.CodeGroupQuota:           {403, "APIG.3101", "The number of API groups exceeds the maximum allowed limit", explained},
	lacre.CodeQuota:                {403, "APIG.3100", "The number of resources exceeds the maximum allowed limit", explained},
	lacre.CodeGroupMismatch:        {400, "APIG.3474", "The API group ID in the URL does not match the API group to which the URL domain has been bound", bare},
	lacre.CodeInUse:                {403, "APIG.3400", "The resource cannot be changed.", explained},
	lacre.CodeSameAlgorithm:        {400, "APIG.2051", "A domain name cannot be bound with different certificates of one algorithm type", explained},
	lacre.CodePrecondition:         {412, "LACRE.0412", "The resource has changed since it was read", explained},
	lacre.CodeContended:            {500, "APIG.3500", "Failed to synchronize data to etcd. Too many concurrent changes: nothing was changed, try again.", bare},

	// What is our fault; all of them are logged.
	lacre.CodeUnreadable:  {500, "APIG.9999", "System error. What was being served goes on being served.", explained},
	lacre.CodeUnavailable: {500, "APIG.3500", "Failed to synchronize data to etcd.", explained},
	lacre.CodeInternal:    {500, "APIG.9999", "System error", bare},

	lacre.CodeIAMUnavailable: {500, "APIG.9004", "IAM request failed.", bare},

	// What is wrong with a certificate.
	lacre.CodeNotCovered:     {400, "APIG.2103", "The certificate domain name and the custom domain name do not match", explained},
	lacre.CodeKeyMismatch:    {400, "APIG.2101", "The certificate and private key do not match", explained},
	lacre.CodeExpired:        {400, "APIG.2102", "The certificate has expired", explained},
	lacre.CodeBrokenChain:    {400, "APIG.2104", "The certificate chain is not matched", explained},
	lacre.CodeEncryptedKey:   {400, "APIG.2105", "Encrypted private keys are not supported", explained},
	lacre.CodeInvalidPair:    {400, "APIG.2106", "Invalid certificate or private key", explained},
	lacre.CodeNoSAN:          {400, "APIG.2109", "Invalid certificate. SAN missing", explained},
	lacre.CodeAfter2038:      {400, "APIG.3148", "Invalid certificate. Add one that expires before January 19, 2038 03:14:07 UTC", explained},
	lacre.CodeWrongUsage:     {409, "APIG.3708", "The key usage of the certificate does not match", explained},
	lacre.CodeWrongAlgorithm: {409, "APIG.3709", "The signature algorithm of the certificate does not match", explained},
}

// The refusals of requests whose first line or header fields are too long, before
// anything else is looked at. They are not the Service's, so they have no lacre.Code.
var (
	longURI    = meaning{414, "APIGW.0201", "Request URI too large. At most 32768 bytes are accepted.", bare}
	longHeader = meaning{431, "APIGW.0201", "Request headers too large. At most 32768 bytes are accepted.", bare}
)

// errorBody is the body of every refusal. Clients take the code and the message only
// when both are there.
type errorBody struct {
	Code      string `json:"error_code"`
	Message   string `json:"error_msg"`
	RequestID string `json:"request_id"`
}

// message is what e says on the wire.
func (m meaning) message(e *lacre.Error) string {
	text, more := m.text, e.Message
	switch {
	case m.detail == bare:
		return text
	case m.detail == instead:
		return cmp.Or(more, text)
	case m.detail == named && e.Field != "":
		text += ",parameterName:" + e.Field + ". Please refer to the support documentation"
	case m.detail == explained && e.Field != "" && more != "":
		more = e.Field + ": " + more
	}
	switch {
	case more == "":
		return text
	case strings.HasSuffix(text, "."):
		return text + " " + more
	}
	return text + ": " + more
}

// meaningOf is the meaning of a code. A code without one is an internal error.
func meaningOf(code lacre.Code) meaning {
	if m, ok := meanings[code]; ok {
		return m
	}
	return meanings[lacre.CodeInternal]
}

// fail answers with e.
func (rec *recorder) fail(e *lacre.Error) {
	m := meaningOf(e.Code)
	switch m.status {
	case http.StatusUnauthorized:
		rec.Header().Set("WWW-Authenticate", `Keystone uri="/v3"`) // RFC 9110 section 11.6.1 asks for one
	case http.StatusInternalServerError:
		if e.Code == lacre.CodeThrottled || e.Code == lacre.CodeContended {
			rec.Header().Set("Retry-After", "1")
		}
	}
	rec.refuse(m, m.message(e))
}

// refuse answers with what m means, in these words.
func (rec *recorder) refuse(m meaning, message string) {
	rec.code = m.number
	writeJSON(rec, m.status, errorBody{m.number, message, rec.requestID}) // cannot fail: three strings
}

// coded returns err as an error with a code.
func coded(err error) *lacre.Error {
	if e, ok := errors.AsType[*lacre.Error](err); ok {
		return e
	}
	code := lacre.CodeInternal
	if errors.Is(err, lacre.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		code = lacre.CodeUnavailable
	}
	return &lacre.Error{Code: code, Err: err}
}

// saying returns e with another message when its code is code.
func saying(e *lacre.Error, code lacre.Code, message string) *lacre.Error {
	if e.Code != code {
		return e
	}
	return &lacre.Error{Code: code, Message: message, Err: e}
}

// phrased puts into e what only the request knows.
func (x *exchange) phrased(e *lacre.Error) *lacre.Error {
	outcome := ""
	if x.Method != http.MethodGet && x.Method != http.MethodHead && x.query.Get("dry_run") != "true" && !strings.HasSuffix(x.Pattern, "/explain") {
		outcome = "The outcome of this change is unknown: read the resource before repeating it."
	}
	e = saying(e, lacre.CodeUnavailable, outcome)
	e = saying(e, lacre.CodeCertificateNotFound, x.missing)
	if x.instance != "" {
		return saying(e, lacre.CodeInstanceNotFound, "The instance does not exist;id:"+x.instance)
	}
	return saying(e, lacre.CodeInstanceNotFound, "The instance does not exist: "+e.Message)
}

// report logs what is not the client's doing. Refusals under load are only counted: a
// flood of them must not become a flood in the log.
func (s *server) report(r *http.Request, requestID string, e *lacre.Error) {
	if meaningOf(e.Code).status < 500 || e.Code == lacre.CodeThrottled {
		return
	}
	cause := error(e)
	if e.Message == "" && e.Err != nil {
		cause = e.Err
	}
	level := slog.LevelError
	if r.Context().Err() != nil {
		level = slog.LevelInfo // the client went away and took the context with it
	}
	s.Log.LogAttrs(r.Context(), level, "failed", slog.String("code", string(e.Code)),
		slog.Any("err", cause), slog.String("request_id", requestID))
}
