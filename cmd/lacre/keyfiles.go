package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// keyFilesPeriod is how often key files are looked at. What is found twice in a row is taken up: twice
// that after it was put there at the latest. Tests look more often.
var keyFilesPeriod = 2 * time.Second

// maxKeyFile bounds what is read over and over again, in bytes.
const maxKeyFile = 1 << 20

// keyFiles are a certificate chain and its private key, in files that others replace while this
// runs: certbot, a mounted secret, a person. What was good last is in use, whatever the files hold
// now. Only one goroutine may follow them; handshakes may be any number, and read no file.
type keyFiles struct {
	cert, key string // paths
	log       *slog.Logger
	now       func() time.Time

	used atomic.Pointer[tls.Certificate] // with its Leaf; never changed once it is here

	// follow's own.
	last   contents // as they were looked at last
	judged contents // that were taken up, or warned of
}

// contents are what two files hold, by their digests, and why it cannot be used; empty if it can.
type contents struct {
	cert, key [sha256.Size]byte
	fault     string
}

// openKeyFiles reads the files that two flags name for the first time; nil when they name none. A
// certificate that has expired is used all the same: the edge is not to stay away with the API.
func (n *node) openKeyFiles(flags, cert, key string) (*keyFiles, error) {
	if cert == "" {
		return nil, nil
	}
	f := &keyFiles{cert: cert, key: key, log: n.log.With("cert", cert, "key", key), now: n.now}
	pair, found, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", flags, err)
	}
	f.used.Store(&pair)
	f.last, f.judged = found, found
	return f, nil
}

// follow takes up what the files hold until ctx ends. It does nothing for no files.
func (f *keyFiles) follow(ctx context.Context) {
	if f != nil {
		every(ctx, keyFilesPeriod, f.check)
	}
}

// check looks at the files. What it finds for the second time in a row is all there, and not half of
// what is being written: it is put to use, or warned of, once. Contents are compared, since neither
// times nor sizes tell every change.
func (f *keyFiles) check() {
	pair, found := f.look()
	settled := found == f.last
	f.last = found
	if !settled || found == f.judged {
		return
	}
	f.judged = found
	if found.fault != "" {
		f.log.Warn("these files hold no good certificate: the one in use stays", "err", found.fault, inUse(f.used.Load().Leaf))
		return
	}
	f.used.Store(&pair)
	f.log.Info("the certificate in these files is in use now", inUse(pair.Leaf))
}

func inUse(leaf *x509.Certificate) slog.Attr {
	return slog.Group("in_use", "serial", leaf.SerialNumber.String(), "not_after", leaf.NotAfter.UTC())
}

// look is read, with what is only asked of files that others have replaced.
func (f *keyFiles) look() (pair tls.Certificate, found contents) {
	err := cmp.Or(readable(f.cert), readable(f.key))
	if err == nil {
		pair, found, err = f.read()
	}
	if err == nil {
		err = validAt(pair.Leaf, f.now())
	}
	if err != nil {
		found.fault = err.Error()
	}
	return pair, found
}

// read reads a pair as tls.LoadX509KeyPair does. There is nothing of a key in its errors.
func (f *keyFiles) read() (pair tls.Certificate, found contents, err error) {
	cert, err := os.ReadFile(f.cert)
	if err != nil {
		return pair, found, err
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return pair, found, err
	}
	pair, err = tls.X509KeyPair(cert, key)
	return pair, contents{cert: sha256.Sum256(cert), key: sha256.Sum256(key)}, err
}

// readable refuses what may take for ever to read, as a pipe that nobody writes to.
func readable(path string) error {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxKeyFile) {
		err = fmt.Errorf("%s: expected a regular file of at most %d bytes", path, maxKeyFile)
	}
	return err
}

func validAt(leaf *x509.Certificate, now time.Time) error {
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("it is valid from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// serverCertificate is for tls.Config.GetCertificate.
func (f *keyFiles) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.used.Load(), nil
}

// clientCertificate is for tls.Config.GetClientCertificate. A server that would not take this
// certificate is shown none, as crypto/tls does it with Certificates.
func (f *keyFiles) clientCertificate(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if pair := f.used.Load(); r.SupportsCertificate(pair) == nil {
		return pair, nil
	}
	return new(tls.Certificate), nil
}
