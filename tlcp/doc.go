// Package tlcp speaks TLCP, the Transport Layer Cryptography Protocol of GB/T 38636-2020:
// TLS 1.2 in shape, with SM2, SM3 and SM4 for every primitive and two certificates per
// side, one that signs and one that is encrypted to. It is shaped like crypto/tls:
//
//	pair, err := tlcp.NewKeyPair(signChain, signKey, encChain, encKey)
//	conn := tlcp.Server(tcp, &tlcp.Config{KeyPair: pair})
//	err = conn.HandshakeContext(ctx) // or let the first Read or Write do it
//
//	conn := tlcp.Client(tcp, &tlcp.Config{ServerName: "gw.example.com", RootCAs: pool})
//
// # Beside TLS on one port
//
// IsRecord tells the two apart by the first three bytes of a connection. They differ in
// the version of the record, 0x0101 here and 0x03xx there, and neither takes the other's.
//
// # Choosing by name
//
// GetConfigForClient sees the ClientHello and returns the Config for it. When it returns
// an error that is or wraps an Alert, that alert is sent: AlertUnrecognizedName for a name
// nobody serves, AlertHandshakeFailure for one without an SM2 pair. A failed handshake
// returns an *AlertError, which says which alert went in which direction and why.
//
// # Resumption
//
// With WrapSession and UnwrapSession set, sessions are resumed by ticket (RFC 5077, as
// Tongsuo does); with SessionCache set, by session ID, the standard's way. Both carry a
// SessionState that went through the same two hooks, so one policy binding serves both.
// Whatever they return, a session is resumed only under the cipher suite, server name and
// key pair it was made with, for at most SessionLifetime, and after its client
// certificates were verified anew; anything else is a full handshake.
//
// # Limits
//
// The cipher suites are ECC_SM4_GCM_SM3, ECC_SM4_CBC_SM3, ECDHE_SM4_GCM_SM3 and
// ECDHE_SM4_CBC_SM3. The ECC suites have no forward secrecy: who gets the encryption key
// reads recorded traffic. The ECDHE suites demand two certificates from the client. There
// is no compression, no renegotiation, no IBC and no RSA.
package tlcp
