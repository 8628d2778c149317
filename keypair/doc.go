// Package keypair reads what people upload (PEM as it comes) and returns a checked
// leaf, its ordered chain and the private key that belongs to it.
//
// It is pure: no clock but the one given, no I/O, no state, and randomness only in the
// proof of SM2 keys, which is thrown away. So every function may be called from any number
// of goroutines. Its errors name the field at
// fault and what was expected, and never contain key material.
//
// # What Parse puts right
//
// Each of these is accepted. Those that the uploader should know of come back as
// Pair.Warnings, marked (w):
//
//   - texts in quotes, with a byte-order mark, bag attributes or comments, with CRLF,
//     literal \n, blanks or nothing where line breaks belong;
//   - keys in PKCS #8, PKCS #1 or SEC 1 form under any of their labels, with or without
//     EC PARAMETERS ahead of them;
//   - certificates in the wrong order (w), sent twice (w), or with their root (w);
//   - blocks of another kind beside the ones expected, private keys among them (w);
//   - a leaf or intermediate that is not valid yet (w), that is a CA certificate (w),
//     whose intermediate seems to be missing (w), or with an RSA key above 4096 bits (w).
//
// # What Parse refuses
//
// In this order, the first finding being the answer: texts that are too long or have
// too many blocks; damaged blocks; formats other than PEM, each with the command that
// converts it; keys other than RSA of 2048 to 8192 bits and ECDSA on P-256, P-384 or
// P-521; encrypted keys; a key that belongs to no certificate; a leaf that has expired,
// has no name, is not meant for TLS servers or is signed with SHA-1; a chain with a link
// that does not verify or a certificate that has no place in it; and at last a private
// key that does not sign.
//
// # SM2
//
// ParseSM2 does the same for the two pairs of an SM2 certificate. It refuses also, before
// it looks at the leaves further, pairs whose key usage is not that of their field, and at
// the end pairs of two CAs or without a common name. Every certificate must have an SM2 key
// and, but for roots, a signature by SM2-with-SM3. Keys come as PKCS #8, SEC 1 or in the
// form of GM/T 0010.
//
// Trust is not judged: whether clients know the root is between them and the CA. Name
// constraints and revocation are not looked at either.
package keypair
