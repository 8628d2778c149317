package edge

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"lacre"
	"lacre/keypair"
	"lacre/tlcp"
)

// rehearse runs a client hello through crypto/tls with config, up to where the server
// waits for the client's next message, and reads the result off the wire, and the leaf,
// which is nil when it is encrypted (TLS 1.3) or there is none.
func rehearse(hello lacre.ClientHello, config *tls.Config) (out lacre.HandshakeOutcome, leaf []byte, err error) {
	record, err := helloRecord(hello)
	if err != nil {
		return out, nil, err
	}
	stage := &rehearsal{in: bytes.NewReader(record)}
	err = tls.Server(stage, config).Handshake()
	return outcomeOnWire(stage.out.Bytes(), err), leafOnWire(stage.out.Bytes()), nil
}

// rehearseTLCP is rehearse for TLCP.
func rehearseTLCP(hello lacre.ClientHello, config *tlcp.Config) (out lacre.HandshakeOutcome, leaf []byte, err error) {
	record, err := helloRecordTLCP(hello)
	if err != nil {
		return out, nil, err
	}
	stage := &rehearsal{in: bytes.NewReader(record)}
	err = tlcp.Server(stage, config).Handshake()
	return outcomeOnWire(stage.out.Bytes(), err), leafOnWire(stage.out.Bytes()), nil
}

// rehearsal is a connection to a client that sends its hello and is gone.
type rehearsal struct {
	net.Conn // nil: a handshake only reads and writes
	in       *bytes.Reader
	out      bytes.Buffer
}

func (r *rehearsal) Read(b []byte) (int, error)  { return r.in.Read(b) }
func (r *rehearsal) Write(b []byte) (int, error) { return r.out.Write(b) }

// Types of records, messages and extensions (RFC 8446 sections 5.1, 4 and 4.2).
const (
	recordAlert, recordHandshake = 21, 22
	messageCertificate           = 11

	extServerName        = 0
	extStatusRequest     = 5
	extGroups            = 10
	extPointFormats      = 11
	extSignatures        = 13
	extALPN              = 16
	extMasterSecret      = 23
	extSupportedVersions = 43
	extKeyShare          = 51
	extRenegotiation     = 0xff01
)

// helloRecord is a client hello as a TLS record. What is not asked about is what browsers
// send; the key share is the base point, since no secret will ever be needed.
func helloRecord(h lacre.ClientHello) ([]byte, error) {
	return inRecord(tls.VersionTLS10, func(b *cryptobyte.Builder) { addHello(b, h) })
}

// helloRecordTLCP is helloRecord for TLCP (GB/T 38636-2020, 6.4.5.2.1).
func helloRecordTLCP(h lacre.ClientHello) ([]byte, error) {
	return inRecord(tlcp.Version, func(b *cryptobyte.Builder) {
		addOffer(b, tlcp.Version, h)
		if h.ServerName != "" {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addServerName(b, h.ServerName) })
		}
	})
}

// inRecord is a client hello in a record.
func inRecord(version uint16, body cryptobyte.BuilderContinuation) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(version)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // client_hello
		b.AddUint24LengthPrefixed(body)
	})
	return b.Bytes()
}

// addOffer adds what comes before the extensions.
func addOffer(b *cryptobyte.Builder, version uint16, h lacre.ClientHello) {
	b.AddUint16(version)
	b.AddBytes(make([]byte, 32)) // random
	b.AddUint8(0)                // no session
	addNumbers(b, h.CipherSuites)
	b.AddBytes([]byte{1, 0}) // no compression
}

func addServerName(b *cryptobyte.Builder, name string) {
	addExtension(b, extServerName, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(0) // host_name
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		})
	})
}

func addHello(b *cryptobyte.Builder, h lacre.ClientHello) {
	legacy := uint16(0)
	for _, v := range h.Versions {
		legacy = max(legacy, min(v, tls.VersionTLS12))
	}
	addOffer(b, legacy, h)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		if h.ServerName != "" {
			addServerName(b, h.ServerName)
		}
		addExtension(b, extStatusRequest, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0, 0, 0, 0}) })
		addExtension(b, extGroups, func(b *cryptobyte.Builder) {
			addNumbers(b, []uint16{uint16(tls.X25519), uint16(tls.CurveP256), uint16(tls.CurveP384), uint16(tls.CurveP521)})
		})
		addExtension(b, extPointFormats, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })
		addExtension(b, extSignatures, func(b *cryptobyte.Builder) { addNumbers(b, h.SignatureAlgorithms) })
		addExtension(b, extALPN, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, p := range protocols {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(p)) })
				}
			})
		})
		addExtension(b, extMasterSecret, func(*cryptobyte.Builder) {})
		addExtension(b, extSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, v := range h.Versions {
					b.AddUint16(v)
				}
			})
		})
		addExtension(b, extKeyShare, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16(uint16(tls.X25519))
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(append([]byte{9}, make([]byte, 31)...)) })
			})
		})
		addExtension(b, extRenegotiation, func(b *cryptobyte.Builder) { b.AddUint8(0) })
	})
}

func addExtension(b *cryptobyte.Builder, number uint16, body cryptobyte.BuilderContinuation) {
	b.AddUint16(number)
	b.AddUint16LengthPrefixed(body)
}

func addNumbers(b *cryptobyte.Builder, numbers []uint16) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, n := range numbers {
			b.AddUint16(n)
		}
	})
}

// outcomeOnWire reads what the server sent, and err, why it stopped. The end of what the
// client had to say means that it was content so far.
func outcomeOnWire(sent []byte, err error) lacre.HandshakeOutcome {
	out := lacre.HandshakeOutcome{Result: "ok"}
	for len(sent) >= 5 {
		n := int(binary.BigEndian.Uint16(sent[3:]))
		body := sent[5:min(5+n, len(sent))]
		switch {
		case sent[0] == recordAlert && len(body) == 2:
			return alerted(body[1], err)
		case sent[0] == recordHandshake && out.Version == "":
			out.Version, out.CipherSuite = serverHello(body)
		}
		sent = sent[5+len(body):]
	}
	if out.Version == "" || !errors.Is(err, io.EOF) {
		return alerted(80, err) // internal_error: it could not sign
	}
	return out
}

// leafOnWire reads the first certificate that a server sent in clear (RFC 5246 section
// 7.4.2), nil if it sent none.
func leafOnWire(sent []byte) []byte {
	var messages cryptobyte.String
	for records := cryptobyte.String(sent); ; {
		var kind uint8
		var body cryptobyte.String
		if !records.ReadUint8(&kind) || !records.Skip(2) || !records.ReadUint16LengthPrefixed(&body) || kind != recordHandshake {
			break
		}
		messages = append(messages, body...)
	}
	for {
		var kind uint8
		var body, list, leaf cryptobyte.String
		if !messages.ReadUint8(&kind) || !messages.ReadUint24LengthPrefixed(&body) {
			return nil
		}
		if kind == messageCertificate && body.ReadUint24LengthPrefixed(&list) && list.ReadUint24LengthPrefixed(&leaf) {
			return leaf
		}
	}
}

// unrecognizedAlert is what a handshake without a certificate ends with (RFC 6066 section 3).
const unrecognizedAlert = 112

// alertNames are the alerts that a server answers a hello with, as RFC 8446 names them.
var alertNames = map[uint8]string{
	10: "unexpected_message", 40: "handshake_failure", 47: "illegal_parameter", 50: "decode_error",
	70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
	109: "missing_extension", unrecognizedAlert: "unrecognized_name", 120: "no_application_protocol",
}

func alerted(alert uint8, err error) lacre.HandshakeOutcome {
	out := lacre.HandshakeOutcome{Result: cmp.Or(alertNames[alert], "alert"), Alert: alert}
	if err != nil {
		out.Reason = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "tlcp: ")
	}
	return out
}

// serverHello reads version and cipher suite off a server hello; both are empty when it
// is none.
func serverHello(message []byte) (version, suite string) {
	s := cryptobyte.String(message)
	var legacy, number uint16
	var session, extensions cryptobyte.String
	if !s.Skip(4) || !s.ReadUint16(&legacy) || !s.Skip(32) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16(&number) || !s.Skip(1) {
		return "", ""
	}
	if legacy == tlcp.Version {
		return "TLCPv1.1", tlcp.CipherSuiteName(number)
	}
	s.ReadUint16LengthPrefixed(&extensions) // TLS 1.2 may have none
	for !extensions.Empty() {
		var ext uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&ext) || !extensions.ReadUint16LengthPrefixed(&data) {
			break
		}
		if ext == extSupportedVersions {
			data.ReadUint16(&legacy)
		}
	}
	return versionName(legacy), tls.CipherSuiteName(number)
}

// versionName is the API's spelling of the versions the edge speaks.
func versionName(v uint16) string {
	i := slices.Index([]uint16{0, tls.VersionTLS12, tls.VersionTLS13}, v)
	return versionNames[max(i, 0)]
}

// shownFirst is the leaf that is the first certificate on the wire: of SM2's two the signing
// one (GB/T 38636-2020, 6.4.5.4).
func (v *version) shownFirst() []byte {
	if v.isSM2() {
		return v.signing.leaf
	}
	return v.leaf
}

// helloFor is the hello of a client that takes certificates of v's kind only. It speaks the
// lowest version that the site does: up to TLS 1.2 the certificate is there to be read.
func helloFor(v *version, host string, lowest uint16) lacre.ClientHello {
	h := lacre.ClientHello{ServerName: host, Versions: []uint16{lowest}}
	switch v.algorithm {
	case keypair.SM2:
		h.Versions, h.CipherSuites = []uint16{lacre.VersionTLCP}, []uint16{tlcp.ECC_SM4_GCM_SM3}
	case keypair.RSA:
		h.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		h.SignatureAlgorithms = []uint16{uint16(tls.PSSWithSHA256), uint16(tls.PSSWithSHA384), uint16(tls.PSSWithSHA512), uint16(tls.PKCS1WithSHA256)}
	default:
		h.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		h.SignatureAlgorithms = []uint16{uint16(tls.ECDSAWithP256AndSHA256), uint16(tls.ECDSAWithP384AndSHA384), uint16(tls.ECDSAWithP521AndSHA512)}
	}
	if lowest == tls.VersionTLS13 && v.algorithm != keypair.SM2 {
		h.CipherSuites = []uint16{tls.TLS_AES_128_GCM_SHA256}
	}
	return h
}
