package keypair

import "crypto/x509"

// role is what an upload's key pair is for. It decides which fields the texts come from
// and which key usage the leaf must have.
type role uint8

const (
	server     role = iota // TLS: RSA or ECDSA
	encryption             // TLCP: clients encrypt the pre-master secret to it
	signing                // TLCP: signs the key exchange
)

// cert and key name the fields of the API that the texts of a role come from. SM2's
// cert_content and private_key are the encryption pair.
func (r role) cert() string { return [...]string{fieldCert, fieldCert, fieldCertSign}[r] }
func (r role) key() string  { return [...]string{fieldKey, fieldKey, fieldKeySign}[r] }

const enciphers = x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement

// roleOf is the role that the key usage of an SM2 leaf names (GB/T 38636 demands the
// extension). A leaf that is for both fits neither: whoever holds a copy of the
// encryption key, as national CAs do, could sign with it.
func roleOf(leaf *x509.Certificate) (r role, fault string) {
	signs, encrypts := leaf.KeyUsage&x509.KeyUsageDigitalSignature != 0, leaf.KeyUsage&enciphers != 0
	switch {
	case signs && encrypts:
		return server, "is for signing and for encryption at once"
	case signs:
		return signing, "is a signing certificate"
	case encrypts:
		return encryption, "is an encryption certificate"
	}
	return server, "is neither for signing nor for encryption"
}

// checkRoles refuses an SM2 pair whose leaves are not what their fields are for, two
// pairs that were swapped among them.
func checkRoles(enc, sign *x509.Certificate) error {
	encRole, encFault := roleOf(enc)
	signRole, signFault := roleOf(sign)
	const expected = "; with SM2, cert_content is the encryption certificate (key usage keyEncipherment, dataEncipherment or keyAgreement) " +
		"and cert_content_sign the signing certificate (digitalSignature)"
	switch {
	case encRole == signing && signRole == encryption:
		return refuse(WrongUsage, fieldCert, "the two pairs are swapped: certificate %s %s and the one in %s %s%s",
			nameOf(enc), encFault, fieldCertSign, signFault, expected)
	case encRole != encryption:
		return refuse(WrongUsage, fieldCert, "certificate %s %s by its key usage%s", nameOf(enc), encFault, expected)
	case signRole != signing:
		return refuse(WrongUsage, fieldCertSign, "certificate %s %s by its key usage%s", nameOf(sign), signFault, expected)
	}
	return nil
}

// checkWorld refuses certificates of SM2 among those of TLS and the other way round:
// neither protocol's clients could verify such a chain.
func (r role) checkWorld(field string, cert *x509.Certificate) error {
	found := algorithmOfCert(cert)
	switch {
	case (found == SM2) == (r != server):
		return nil
	case r == server:
		return refuse(WrongAlgorithm, field, "certificate %s is SM2; RSA or ECC is expected", nameOf(cert))
	}
	return refuse(WrongAlgorithm, field, "certificate %s is %s; SM2 is expected", nameOf(cert), found)
}

func algorithmOfCert(cert *x509.Certificate) Algorithm {
	switch {
	case cert.PublicKeyAlgorithm == x509.RSA:
		return RSA
	case isSM2(cert):
		return SM2
	}
	return ECC
}
