package keypair

import (
	"crypto"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// isGM0010 tells an ECPrivateKey of GM/T 0010 from PKCS #1, which has more integers: body
// follows the version of either.
func isGM0010(body cryptobyte.String) bool {
	if !body.SkipASN1(tag.INTEGER) {
		return false
	}
	context := func(n uint8) bool { return body.PeekASN1Tag(tag.Tag(n).Constructed().ContextSpecific()) }
	return body.Empty() || context(0) || context(1)
}

const faultSM2 = "it is not a valid SM2 key"

// sm2Bytes is the length of an SM2 private key: the curve has 256 bits.
const sm2Bytes = 32

// parseSM2 reads an ECPrivateKey of SM2, which is one in SEC 1 form with the private key
// as an octet string (RFC 5915 section 3) or in that of GM/T 0010 with an integer (GM/T
// 0009 section 7.1). The curve, where it is named, is known to be SM2 or does not matter:
// the key has to be that of an SM2 certificate.
func parseSM2(der []byte) (crypto.Signer, string) {
	input := cryptobyte.String(der)
	var body, private cryptobyte.String
	var version int
	if !input.ReadASN1(&body, tag.SEQUENCE) || !input.Empty() || !body.ReadASN1Integer(&version) || version != 1 {
		return nil, faultSM2
	}
	if body.PeekASN1Tag(tag.INTEGER) {
		return parseSM2Integer(body)
	}
	if !body.ReadASN1(&private, tag.OCTET_STRING) {
		return nil, faultSM2
	}
	for len(private) > sm2Bytes && private[0] == 0 { // some write a sign byte
		private = private[1:]
	}
	if len(private) > sm2Bytes {
		return nil, faultSM2
	}
	return sm2Key(new(big.Int).SetBytes(private))
}

func parseSM2Integer(body cryptobyte.String) (crypto.Signer, string) {
	var private big.Int
	if !body.ReadASN1Integer(&private) || private.Sign() <= 0 || private.BitLen() > 8*sm2Bytes {
		return nil, faultSM2
	}
	return sm2Key(&private)
}

// sm2Key makes the key of a private number, its public half computed. Numbers that are
// no key are refused: 0, and n-1 and above.
func sm2Key(private *big.Int) (crypto.Signer, string) {
	raw := private.FillBytes(make([]byte, sm2Bytes))
	defer clear(raw)
	key, err := sm2.NewPrivateKey(raw)
	if err != nil {
		return nil, faultSM2
	}
	return key, ""
}
