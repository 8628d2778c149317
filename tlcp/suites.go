package tlcp

import (
	"fmt"
	"slices"
)

// Version is the only protocol version, in records and in hellos.
const Version uint16 = 0x0101

// The cipher suites. ECC encrypts the pre-master secret to the server's encryption key;
// ECDHE is the SM2 key exchange and needs two certificates on the client's side.
const (
	ECC_SM4_GCM_SM3   uint16 = 0xe053
	ECC_SM4_CBC_SM3   uint16 = 0xe013
	ECDHE_SM4_GCM_SM3 uint16 = 0xe051
	ECDHE_SM4_CBC_SM3 uint16 = 0xe011
)

// defaultSuites are the suites in our order of preference. ECC comes first because ECDHE
// fails with clients that offer it and hold one certificate only; GCM comes before CBC.
var defaultSuites = []uint16{ECC_SM4_GCM_SM3, ECC_SM4_CBC_SM3, ECDHE_SM4_GCM_SM3, ECDHE_SM4_CBC_SM3}

var suiteNames = map[uint16]string{
	ECC_SM4_GCM_SM3: "ECC_SM4_GCM_SM3", ECC_SM4_CBC_SM3: "ECC_SM4_CBC_SM3",
	ECDHE_SM4_GCM_SM3: "ECDHE_SM4_GCM_SM3", ECDHE_SM4_CBC_SM3: "ECDHE_SM4_CBC_SM3",
}

// CipherSuiteName is the standard's name of a suite, or its number in hexadecimal.
func CipherSuiteName(id uint16) string {
	if name, ok := suiteNames[id]; ok {
		return name
	}
	return fmt.Sprintf("0x%04X", id)
}

func isECDHE(suite uint16) bool { return suite == ECDHE_SM4_GCM_SM3 || suite == ECDHE_SM4_CBC_SM3 }

func isGCM(suite uint16) bool { return suite == ECC_SM4_GCM_SM3 || suite == ECDHE_SM4_GCM_SM3 }

func knownSuite(suite uint16) bool { return slices.Contains(defaultSuites, suite) }

// IsRecord tells a TLCP connection from a TLS one by its first bytes, at least three: a
// handshake record of version 0x0101. TLS records have version 0x03xx.
func IsRecord(first []byte) bool {
	return len(first) >= 3 && first[0] == byte(recordHandshake) && first[1] == 0x01 && first[2] == 0x01
}
