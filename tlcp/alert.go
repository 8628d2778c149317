package tlcp

import (
	"errors"
	"fmt"
	"strconv"
)

// An Alert is the description of a TLCP alert (GB/T 38636-2020 section 6.4.3, and RFC 6066
// and RFC 7301 for those that belong to extensions). As an error returned by a hook of
// Config, wrapped or not, it is the alert that the peer is sent.
type Alert uint8

// The alerts this package sends.
const (
	AlertCloseNotify            Alert = 0
	AlertUnexpectedMessage      Alert = 10
	AlertBadRecordMAC           Alert = 20
	AlertRecordOverflow         Alert = 22
	AlertHandshakeFailure       Alert = 40
	AlertBadCertificate         Alert = 42
	AlertUnsupportedCertificate Alert = 43
	AlertCertificateRevoked     Alert = 44
	AlertCertificateExpired     Alert = 45
	AlertCertificateUnknown     Alert = 46
	AlertIllegalParameter       Alert = 47
	AlertUnknownCA              Alert = 48
	AlertAccessDenied           Alert = 49
	AlertDecodeError            Alert = 50
	AlertDecryptError           Alert = 51
	AlertProtocolVersion        Alert = 70
	AlertInternalError          Alert = 80
	AlertNoRenegotiation        Alert = 100
	AlertUnsupportedExtension   Alert = 110
	AlertUnrecognizedName       Alert = 112
	AlertNoApplicationProtocol  Alert = 120
)

var alertNames = map[Alert]string{
	AlertCloseNotify: "close_notify", AlertUnexpectedMessage: "unexpected_message",
	AlertBadRecordMAC: "bad_record_mac", AlertRecordOverflow: "record_overflow",
	AlertHandshakeFailure: "handshake_failure", AlertBadCertificate: "bad_certificate",
	AlertUnsupportedCertificate: "unsupported_certificate", AlertCertificateRevoked: "certificate_revoked",
	AlertCertificateExpired: "certificate_expired", AlertCertificateUnknown: "certificate_unknown",
	AlertIllegalParameter: "illegal_parameter", AlertUnknownCA: "unknown_ca",
	AlertAccessDenied: "access_denied", AlertDecodeError: "decode_error", AlertDecryptError: "decrypt_error",
	AlertProtocolVersion: "protocol_version", AlertInternalError: "internal_error",
	AlertNoRenegotiation: "no_renegotiation", AlertUnsupportedExtension: "unsupported_extension",
	AlertUnrecognizedName: "unrecognized_name", AlertNoApplicationProtocol: "no_application_protocol",
}

// String is the name the standard gives the alert, or its number.
func (a Alert) String() string {
	if name, ok := alertNames[a]; ok {
		return name
	}
	return "alert " + strconv.Itoa(int(a))
}

// Error makes an Alert an error.
func (a Alert) Error() string { return "tlcp: " + a.String() }

// An AlertError is why a connection ended: an alert sent by one side to the other.
type AlertError struct {
	Alert  Alert
	Remote bool  // the peer sent it
	Err    error // why we sent it; nil if the peer did
}

// Error names the alert, who sent it and, if we did, why.
func (e *AlertError) Error() string {
	if e.Remote {
		return "tlcp: the peer sent " + e.Alert.String()
	}
	return fmt.Sprintf("tlcp: %v (%v sent)", e.Err, e.Alert)
}

// Unwrap returns why the alert was sent.
func (e *AlertError) Unwrap() error { return e.Err }

// refuse makes the error that is answered with an alert.
func refuse(a Alert, format string, args ...any) error {
	return &AlertError{Alert: a, Err: fmt.Errorf(format, args...)}
}

// refuseFor makes the error for what a hook returned: the alert in err, else a.
func refuseFor(err error, a Alert) error {
	if decided, ok := errors.AsType[*AlertError](err); ok {
		return decided
	}
	if named, ok := errors.AsType[Alert](err); ok {
		a = named
	}
	return &AlertError{Alert: a, Err: err}
}
