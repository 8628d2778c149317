// Package edge terminates TLS, and TLCP on the same port, for the domains it reads from a
// Feed: it picks the key pair by SNI, enforces the domain's policy and proxies requests to its upstream.
//
// # What is held
//
// A domain becomes a site, found by host name in the index. A site names up to three
// certificates, and each certificate has one current version: leaf, chain, private key
// and trust roots together. Sites and versions are immutable; a change makes another
// one aside and swaps a pointer:
//
//	index -> site -> served (atomic) -> version (atomic) -> opened -> *tls.Config
//
// An idle version is bytes. The first handshake that needs it opens it: it unseals and
// parses the key, and from then on a config for each policy in use hangs on it, shared
// by all the domains of the certificate. A bounded number of versions stay open.
// Chains and trust roots are held once for each distinct content.
//
// # Starting
//
// Everything is read in bulk, certificates first, then domains. Until that is done a name
// is looked up in the store when it is first asked for (finder), and whatever is there then
// is held like anything else: of two values for one thing the newer one stays, whoever
// brought it. Applied waits until all is loaded and the watch has caught up.
//
// # Who may write
//
// One goroutine (Follow) applies changes in the order of the store, and another
// compares everything with the store from time to time; holdings.mu orders the two.
// Handshakes and requests only read what is served, without a lock of this package and
// without I/O once a certificate is warm; counting and logging a request take a lock each
// for a moment and wait for nothing. That they see a change is what Applied waits for: the
// revision moves only after every pointer of it is in place.
//
// # What is never done
//
// No session is resumed onto another domain, certificate version or policy; where client
// certificates are demanded, they are verified again, also of a session that is resumed. No request is answered on a connection
// that was made for another domain. What a client says in the forwarding headers
// (Forwarded, X-Forwarded-*, X-Real-IP, Client-Cert*) reaches no upstream. A version whose
// key does not open, or does not belong to its leaf, never takes the place of one that
// works. Losing the store changes nothing that is served.
package edge
