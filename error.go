package lacre

import (
	"errors"
	"fmt"

	"lacre/keypair"
)

// Code says what went wrong, once for each meaning. The numbers of the compatible API
// are given to codes in package api.
type Code string

// The codes. Those about the content of a certificate are keypair's reasons.
const (
	CodeMalformed        Code = "malformed"         // the body cannot be decoded
	CodeMissing          Code = "missing"           // a mandatory field is absent
	CodeInvalidField     Code = "invalid-field"     // a body field has a bad value
	CodeInvalidParameter Code = "invalid-parameter" // a path or query value is bad
	CodeImmutable        Code = "immutable"         // the field cannot change
	CodeTooLarge         Code = "too-large"

	CodeUnsupportedKind Code = "unsupported" // a documented feature this instance lacks

	CodeTokenMissing Code = "token-missing"
	CodeTokenExpired Code = "token-expired"
	CodeTokenInvalid Code = "token-invalid"
	CodeNoProject    Code = "token-no-project" // the token is not scoped to a project
	CodeForbidden    Code = "forbidden"
	CodeThrottled    Code = "throttled"

	CodeSignature        Code = "signature"         // an AK/SK signature is wrong or not one we take
	CodeSignatureExpired Code = "signature-expired" // signed too long ago, or in the future
	CodeKeyUnknown       Code = "key-unknown"       // there is no such access key, or it is inactive
	CodeKeyLocked        Code = "key-locked"        // too many wrong signatures from one place

	CodeCertificateNotFound Code = "certificate-not-found"
	CodeInstanceNotFound    Code = "instance-not-found"
	CodeGroupNotFound       Code = "group-not-found"
	CodeDomainNotFound      Code = "domain-not-found"
	CodeBindingNotFound     Code = "binding-not-found"
	CodeNothingBound        Code = "nothing-bound" // detach found no domain to act on
	CodeRouteNotFound       Code = "route-not-found"

	CodeCertificateNameTaken Code = "certificate-name-taken"
	CodeInstanceNameTaken    Code = "instance-name-taken"
	CodeGroupNameTaken       Code = "group-name-taken"
	CodeDomainTaken          Code = "domain-taken"
	CodeDomainInvalid        Code = "domain-invalid"
	CodeDomainQuota          Code = "domain-quota"
	CodeGroupQuota           Code = "group-quota"
	CodeQuota                Code = "quota"          // of anything else
	CodeGroupMismatch        Code = "group-mismatch" // the domain belongs to another group
	CodeInUse                Code = "in-use"         // something still refers to it
	CodeSameAlgorithm        Code = "same-algorithm" // the domain has a certificate of that type
	CodePrecondition         Code = "precondition"   // If-Match did not hold
	CodeContended            Code = "contended"      // too many concurrent changes

	CodeUnreadable  Code = "unreadable"  // the stored record is damaged, or its key does not open
	CodeUnavailable Code = "unavailable" // the store did not answer
	CodeInternal    Code = "internal"

	CodeIAMUnavailable Code = "iam-unavailable" // an outside IAM did not answer, or not to us

	CodeNotCovered     = Code("not-covered") // the leaf does not cover a bound host
	CodeKeyMismatch    = Code(keypair.KeyMismatch)
	CodeExpired        = Code(keypair.Expired)
	CodeBrokenChain    = Code(keypair.BrokenChain)
	CodeEncryptedKey   = Code(keypair.EncryptedKey)
	CodeInvalidPair    = Code(keypair.Invalid)
	CodeNoSAN          = Code(keypair.NoSAN)
	CodeAfter2038      = Code("after-2038")
	CodeWrongAlgorithm = Code(keypair.WrongAlgorithm) // algorithm_type disagrees with the key
	CodeWrongUsage     = Code(keypair.WrongUsage)
)

// Error is an error with a meaning a caller can act on. Field names the request field
// or parameter at fault; Message says what was expected and is safe to show. Anything
// that is not an *Error counts as CodeInternal and its text stays in the log.
type Error struct {
	Code    Code
	Field   string
	Message string
	Err     error
}

func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Message, e.Err)
	case e.Field != "":
		return e.Field + ": " + e.Message
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a field.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// FieldErrorf makes an Error about one request field or parameter.
func FieldErrorf(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err, CodeInternal when it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
