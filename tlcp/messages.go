package tlcp

import "bytes"

// parseCertificates takes a Certificate body apart: DER certificates in the order sent.
func parseCertificates(body []byte) (ders [][]byte, err error) {
	r := reader(body)
	list, ok := r.vector(3)
	if !ok || len(r) != 0 {
		return nil, refuse(AlertDecodeError, "the Certificate message is malformed")
	}
	for len(list) > 0 {
		der, ok := list.vector(3)
		if !ok || len(der) == 0 {
			return nil, refuse(AlertDecodeError, "a certificate overruns its message")
		}
		ders = append(ders, der)
	}
	return ders, nil
}

func marshalCertificates(ders [][]byte) []byte {
	var list []byte
	for _, der := range ders {
		list = appendVector24(list, der)
	}
	return message(typeCertificate, appendVector24(nil, list))
}

// parseSignature reads a body, or its rest, that is one signature.
func parseSignature(r reader) ([]byte, error) {
	sig, ok := r.vector(2)
	if !ok || len(r) != 0 || len(sig) == 0 {
		return nil, refuse(AlertDecodeError, "the signature does not fill its message")
	}
	return sig, nil
}

// Key exchange parameters of the ECDHE suites: named_curve, the number of the SM2 curve,
// and an uncompressed point.
const (
	pointLen  = 65
	paramsLen = 4 + pointLen
)

var paramsHeader = [4]byte{3, 0, 41, pointLen}

func marshalParams(point []byte) []byte {
	return append(paramsHeader[:len(paramsHeader):len(paramsHeader)], point...)
}

// parseParams returns the point. The curve is not looked at: implementations disagree
// about its number, and a point on another curve is refused by the arithmetic.
func parseParams(params []byte) ([]byte, error) {
	if len(params) != paramsLen || params[3] != pointLen {
		return nil, refuse(AlertDecodeError, "the key exchange parameters have %d bytes, want %d", len(params), paramsLen)
	}
	return params[4:], nil
}

// parseServerParams splits a ServerKeyExchange of an ECDHE suite.
func parseServerParams(body []byte) (params, signature []byte, err error) {
	r := reader(body)
	params, ok := r.fixed(paramsLen)
	if !ok {
		return nil, nil, refuse(AlertDecodeError, "the ServerKeyExchange is cut short")
	}
	signature, err = parseSignature(r)
	return params, signature, err
}

// parseClientParams accepts the parameters of a ClientKeyExchange with the length of the
// standard's text in front and without, as implementations send them.
func parseClientParams(body []byte) ([]byte, error) {
	if len(body) == paramsLen+2 && bytes.HasPrefix(body, []byte{0, paramsLen}) {
		body = body[2:]
	}
	return parseParams(body)
}

// parseCiphertext returns the ciphertext of a ClientKeyExchange of an ECC suite.
func parseCiphertext(body []byte) ([]byte, error) {
	r := reader(body)
	ciphertext, ok := r.vector(2)
	if !ok || len(r) != 0 || len(ciphertext) == 0 {
		return nil, refuse(AlertDecodeError, "the ciphertext does not fill the ClientKeyExchange")
	}
	return ciphertext, nil
}

// marshalCertificateRequest asks for certificates of any of the named authorities.
// ecdsa_sign stands for SM2; rsa_sign is there because every implementation sends both.
func marshalCertificateRequest(authorities [][]byte) []byte {
	const rsaSign, ecdsaSign = 1, 64
	var names []byte
	for _, name := range authorities {
		if len(names)+2+len(name) > 1<<16-1 {
			names = nil // more than fits: an empty list means any
			break
		}
		names = appendVector16(names, name)
	}
	return message(typeCertificateRequest, appendVector16([]byte{2, rsaSign, ecdsaSign}, names))
}

// parseCertificateRequest returns the DER names of the authorities.
func parseCertificateRequest(body []byte) (authorities [][]byte, err error) {
	r := reader(body)
	types, ok1 := r.vector(1)
	names, ok2 := r.vector(2)
	if !ok1 || !ok2 || len(r) != 0 || len(types) == 0 {
		return nil, refuse(AlertDecodeError, "the CertificateRequest is malformed")
	}
	for len(names) > 0 {
		name, ok := names.vector(2)
		if !ok || len(name) == 0 {
			return nil, refuse(AlertDecodeError, "an authority overruns the CertificateRequest")
		}
		authorities = append(authorities, name)
	}
	return authorities, nil
}

func marshalTicket(lifetime uint32, ticket []byte) []byte {
	b := startMessage(typeNewSessionTicket, 6+len(ticket))
	b = appendUint16(appendUint16(b, int(lifetime>>16)), int(lifetime&0xffff))
	return finishMessage(appendVector16(b, ticket))
}

// parseTicket takes a NewSessionTicket apart. An empty ticket is none (RFC 5077
// section 3.3).
func parseTicket(body []byte) ([]byte, error) {
	r := reader(body)
	_, ok1 := r.fixed(4)
	ticket, ok2 := r.vector(2)
	if !ok1 || !ok2 || len(r) != 0 {
		return nil, refuse(AlertDecodeError, "the NewSessionTicket is malformed")
	}
	return ticket, nil
}
