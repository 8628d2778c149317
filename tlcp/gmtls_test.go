package tlcp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/tjfoc/gmsm/gmtls"
	tjfoc "github.com/tjfoc/gmsm/sm2"
	tjfocx509 "github.com/tjfoc/gmsm/x509"
)

// gmtls shares no code with gmsm, not even the curve: what it agrees with us about is not
// a mistake of ours. It knows ECC_SM4_CBC_SM3 only.

func gmtlsCertificate(l leaf) gmtls.Certificate {
	key := new(tjfoc.PrivateKey)
	key.Curve, key.X, key.Y, key.D = tjfoc.P256Sm2(), l.key.X, l.key.Y, l.key.D
	return gmtls.Certificate{Certificate: l.der, PrivateKey: key}
}

func gmtlsConfig(t *testing.T, ca *authority, name string, auth gmtls.ClientAuthType) *gmtls.Config {
	t.Helper()
	cert, err := tjfocx509.ParseCertificate(ca.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	pool := tjfocx509.NewCertPool()
	pool.AddCert(cert)
	sign, enc := ca.leaf(t, name, signUsage, nil), ca.leaf(t, name, encUsage, nil)
	return &gmtls.Config{
		GMSupport: gmtls.NewGMSupport(), Certificates: []gmtls.Certificate{gmtlsCertificate(sign), gmtlsCertificate(enc)},
		RootCAs: pool, ClientCAs: pool, ServerName: testName, ClientAuth: auth,
	}
}

// conversation has the server send back what the client says, in several sizes.
func conversation(client, server net.Conn) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(server, server)
		done <- err
	}()
	for _, n := range []int{1, 100, maxPlaintext, maxPlaintext + 1, 100_000} {
		data := make([]byte, n)
		_, _ = rand.Read(data)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(data)
			sent <- err
		}()
		got := make([]byte, n)
		if _, err := io.ReadFull(client, got); err != nil {
			return fmt.Errorf("reading %d bytes: %w", n, err)
		}
		if err := <-sent; err != nil {
			return err
		}
		if !bytes.Equal(got, data) {
			return fmt.Errorf("got other bytes than the %d sent", n)
		}
	}
	if err := client.Close(); err != nil {
		return err
	}
	return <-done
}

func TestGmtlsClient(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	pair := ca.pair(t, testName)
	for _, auth := range []ClientAuth{NoClientCert, RequireAndVerifyClientCert} {
		t.Run(fmt.Sprint(auth), func(t *testing.T) {
			t.Parallel()
			c, s := tcpPair(t)
			server := Server(s, &Config{KeyPair: pair, ClientAuth: auth, ClientCAs: ca.pool})
			client := gmtls.Client(c, gmtlsConfig(t, ca, "client", gmtls.NoClientCert))
			if err := conversation(client, server); err != nil {
				t.Fatal(err)
			}
			state := server.ConnectionState()
			if state.CipherSuite != ECC_SM4_CBC_SM3 || (len(state.PeerCertificates) > 0) != (auth != NoClientCert) {
				t.Errorf("got %s and %d certificates", CipherSuiteName(state.CipherSuite), len(state.PeerCertificates))
			}
		})
	}
}

func TestGmtlsServer(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	pair := ca.pair(t, "client")
	for _, auth := range []gmtls.ClientAuthType{gmtls.NoClientCert, gmtls.RequireAndVerifyClientCert} {
		t.Run(fmt.Sprint(auth), func(t *testing.T) {
			t.Parallel()
			c, s := tcpPair(t)
			server := gmtls.Server(s, gmtlsConfig(t, ca, testName, auth))
			client := Client(c, &Config{RootCAs: ca.pool, ServerName: testName, KeyPair: pair})
			if err := conversation(client, server); err != nil {
				t.Fatal(err)
			}
			state := server.ConnectionState()
			if got := client.ConnectionState().CipherSuite; got != ECC_SM4_CBC_SM3 || (len(state.PeerCertificates) > 0) != (auth != gmtls.NoClientCert) {
				t.Errorf("got %s and %d certificates", CipherSuiteName(got), len(state.PeerCertificates))
			}
		})
	}
}
