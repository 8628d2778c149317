package tlcp

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// tongsuoServer starts s_server of Tongsuo, the OpenSSL that speaks TLCP, on a port of its
// choice. It sends back each line, reversed. No package has it: LACRE_TONGSUO names its
// openssl program.
func tongsuoServer(t *testing.T, ca *authority, options ...string) (address string) {
	t.Helper()
	binary := os.Getenv("LACRE_TONGSUO")
	if binary == "" {
		t.Skip("LACRE_TONGSUO names no openssl program of Tongsuo; docs/sm2.md says how to build one")
	}
	dir := t.TempDir()
	args := []string{"s_server", "-accept", "127.0.0.1:0", "-enable_ntls", "-rev", "-verify_return_error",
		"-CAfile", writePEM(t, dir, "ca.pem", "CERTIFICATE", ca.cert.Raw)}
	for name, usage := range map[string]struct{ l leaf }{"sign": {ca.leaf(t, testName, signUsage, nil)}, "enc": {ca.leaf(t, testName, encUsage, nil)}} {
		key, err := smx509.MarshalPKCS8PrivateKey(usage.l.key)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-"+name+"_cert", writePEM(t, dir, name+".pem", "CERTIFICATE", usage.l.der[0]),
			"-"+name+"_key", writePEM(t, dir, name+".key", "PRIVATE KEY", key))
	}
	cmd := exec.CommandContext(t.Context(), binary, append(args, options...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			go io.Copy(io.Discard, out)
			return address
		}
	}
	t.Fatal("s_server does not say where it listens")
	return ""
}

func writePEM(t *testing.T, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTongsuoServer: our client speaks every suite to Tongsuo's server, with and without a
// certificate, and resumes by ticket and by session ID.
func TestTongsuoServer(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	client := ca.pair(t, "client")
	open, demanding := tongsuoServer(t, ca), tongsuoServer(t, ca, "-Verify", "1")
	for _, suite := range defaultSuites {
		for _, tickets := range []bool{true, false} {
			for _, address := range []string{open, demanding} {
				config := &Config{
					RootCAs: ca.pool, ServerName: testName, CipherSuites: []uint16{suite},
					ClientSessionCache: NewClientSessionCache(1), SessionTicketsDisabled: !tickets,
				}
				if address == demanding || isECDHE(suite) {
					config.KeyPair = client
				}
				for round := range 2 {
					state, err := reversed(address, config)
					if err != nil || state.DidResume != (round == 1) || state.CipherSuite != suite {
						t.Errorf("%s, tickets %t, certificates demanded %t, round %d: got resumed %t, %v",
							CipherSuiteName(suite), tickets, address == demanding, round, state.DidResume, err)
					}
				}
			}
		}
	}
	if _, err := reversed(demanding, &Config{RootCAs: ca.pool, ServerName: testName}); err == nil {
		t.Error("a client without a certificate was let in where one is demanded")
	}
	if _, err := reversed(open, &Config{RootCAs: newAuthority(t, "root", nil).pool, ServerName: testName}); err == nil {
		t.Error("a server of another CA was trusted")
	}
}

// reversed has a line sent back reversed.
func reversed(address string, config *Config) (ConnectionState, error) {
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return ConnectionState{}, err
	}
	c := Client(raw, config)
	defer c.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "hello tlcp\n"); err != nil {
		return ConnectionState{}, err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "pclt olleh\n" {
		err = fmt.Errorf("got %q back", line)
	}
	return c.ConnectionState(), err
}
