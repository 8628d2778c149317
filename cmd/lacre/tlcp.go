package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"github.com/spf13/cobra"

	"lacre/tlcp"
)

// tlcpClient is one invocation of 'tlcp connect'.
type tlcpClient struct {
	address string
	sni     string
	ca      string
	files   tlcpFiles
	alpn    []string
	suites  []string
	get     string
	resume  bool
	trust   bool // any certificate
	timeout time.Duration
}

// tlcpCommand groups what speaks TLCP itself.
func tlcpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tlcp", Short: "Speak TLCP, the protocol of SM2 certificates (GB/T 38636)", Args: cobra.NoArgs,
		Example: `  lacre tlcp connect gw.example.com:443 --ca sm2-ca.pem`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tlcpConnectCommand())
	return cmd
}

func tlcpConnectCommand() *cobra.Command {
	c := new(tlcpClient)
	cmd := &cobra.Command{
		Use: "connect HOST:PORT", Short: "Handshake with a TLCP server and say what it shows", Args: cobra.ExactArgs(1),
		Long: `Connect handshakes with a TLCP server, verifies both of its certificates, and prints what
was agreed: suite, certificates, resumption. With --get it also requests a path over HTTP,
prints the body alone to standard output and everything else to standard error.`,
		Example: `  lacre tlcp connect 127.0.0.1:8443 --sni gw.example.com --ca sm2-ca.pem
  lacre tlcp connect gw.example.com:443 --ca sm2-ca.pem --resume --suite ECC_SM4_CBC_SM3
  lacre tlcp connect gw.example.com:443 --ca sm2-ca.pem --get /status
  lacre tlcp connect gw.example.com:443 --ca sm2-ca.pem --suite ECDHE_SM4_GCM_SM3 \
      --sign-cert me-sign.pem --sign-key me-sign.key --cert me-enc.pem --key me-enc.key`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.address = args[0]
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.sni, "sni", "", "server name to ask for and to verify (default: HOST)")
	f.StringVar(&c.ca, "ca", "", "PEM file with the CAs to trust (default: those of the system)")
	f.StringVar(&c.files.signCert, "sign-cert", "", "PEM file with a client's signing certificate and its chain")
	f.StringVar(&c.files.signKey, "sign-key", "", "PEM file with the private key of the signing certificate")
	f.StringVar(&c.files.cert, "cert", "", "PEM file with a client's encryption certificate and its chain")
	f.StringVar(&c.files.key, "key", "", "PEM file with the private key of the encryption certificate")
	f.StringSliceVar(&c.alpn, "alpn", nil, "protocols to offer, best first")
	f.StringSliceVar(&c.suites, "suite", nil, "cipher suites to offer, best first, such as ECC_SM4_GCM_SM3 (default: all)")
	f.StringVar(&c.get, "get", "", "path to request over HTTP/1.1")
	f.BoolVar(&c.resume, "resume", false, "connect a second time and resume the session")
	f.BoolVar(&c.trust, "insecure", false, "do not verify the server's certificates")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "for each connection")
	return cmd
}

func (c *tlcpClient) run(ctx context.Context, stdout, stderr io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	report := stdout
	if c.get != "" {
		report = stderr
	}
	conn, err := c.dial(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // everything is read by then
	state := conn.ConnectionState()
	kept := "not offered by the server"
	if _, ok := config.ClientSessionCache.Get(cmp.Or(config.ServerName, conn.RemoteAddr().String())); ok {
		kept = "offered by the server"
	}
	if c.resume {
		_ = conn.Close() // a server that serves one client at a time takes the next only then
		again, err := c.dial(ctx, config)
		if err != nil {
			return fmt.Errorf("the second connection: %w", err)
		}
		conn, kept = again, resumed(again)
	}
	if err := printTLCP(report, state, kept); err != nil || c.get == "" {
		return err
	}
	return c.request(conn, stdout, stderr)
}

// config checks the flags.
func (c *tlcpClient) config() (*tlcp.Config, error) {
	host, _, err := net.SplitHostPort(c.address)
	switch {
	case err != nil:
		return nil, usagef("%s: expected HOST:PORT", c.address)
	case c.get != "" && !strings.HasPrefix(c.get, "/"):
		return nil, usagef("--get: expected a path that begins with /")
	case c.get != "" && len(c.alpn) > 0 && !slices.Equal(c.alpn, []string{"http/1.1"}):
		return nil, usagef("--get speaks http/1.1 only; leave --alpn out")
	}
	config := &tlcp.Config{
		ServerName: cmp.Or(c.sni, host), NextProtos: c.alpn, InsecureSkipVerify: c.trust,
		ClientSessionCache: tlcp.NewClientSessionCache(1),
	}
	if c.get != "" {
		config.NextProtos = []string{"http/1.1"}
	}
	if config.CipherSuites, err = c.cipherSuites(); err != nil {
		return nil, err
	}
	if config.RootCAs, err = readSM2Roots(c.ca); err != nil {
		return nil, err
	}
	if config.KeyPair, err = c.files.read(); err != nil {
		return nil, err
	}
	if config.KeyPair == nil && len(c.suites) > 0 && !slices.ContainsFunc(config.CipherSuites, needsNoPair) {
		return nil, usagef("--suite: the ECDHE suites need --sign-cert, --sign-key, --cert and --key")
	}
	return config, nil
}

func (c *tlcpClient) cipherSuites() (ids []uint16, err error) {
	known := map[string]uint16{}
	for _, id := range []uint16{tlcp.ECC_SM4_GCM_SM3, tlcp.ECC_SM4_CBC_SM3, tlcp.ECDHE_SM4_GCM_SM3, tlcp.ECDHE_SM4_CBC_SM3} {
		known[tlcp.CipherSuiteName(id)] = id
	}
	for _, name := range c.suites {
		id, ok := known[strings.ToUpper(name)]
		if !ok {
			return nil, usagef("--suite: unknown suite %q, expected ECC_SM4_GCM_SM3, ECC_SM4_CBC_SM3, ECDHE_SM4_GCM_SM3 or ECDHE_SM4_CBC_SM3", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func needsNoPair(suite uint16) bool {
	return suite == tlcp.ECC_SM4_GCM_SM3 || suite == tlcp.ECC_SM4_CBC_SM3
}

// dial connects and handshakes. The deadline is for all that follows.
func (c *tlcpClient) dial(ctx context.Context, config *tlcp.Config) (*tlcp.Conn, error) {
	dialer := net.Dialer{Timeout: c.timeout}
	raw, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(c.timeout)) // fails only if closed; so does the handshake
	conn := tlcp.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // of no more use
		return nil, hintTLCP(err)
	}
	return conn, nil
}

// hintTLCP adds what to do about an error, where that is known.
func hintTLCP(err error) error {
	alert, ok := errors.AsType[*tlcp.AlertError](err)
	switch {
	case ok && !alert.Remote && alert.Alert == tlcp.AlertUnknownCA:
		return hinted{err, "name the CA of the server with --ca"}
	case ok && !alert.Remote && alert.Alert == tlcp.AlertProtocolVersion:
		return hinted{err, "the server seems to speak TLS and not TLCP on this port"}
	case ok && alert.Remote && alert.Alert == tlcp.AlertUnrecognizedName:
		return hinted{err, "the server serves other names; choose one with --sni"}
	case ok && alert.Remote && alert.Alert == tlcp.AlertHandshakeFailure:
		return hinted{err, "the server has no SM2 certificate for the name, no suite in common, or wants client certificates: --sign-cert, --sign-key, --cert, --key"}
	}
	return err
}

func resumed(second *tlcp.Conn) string {
	if second.ConnectionState().DidResume {
		return "the second connection resumed the session"
	}
	return "the second connection was a full handshake"
}

func printTLCP(w io.Writer, state tlcp.ConnectionState, resumption string) error {
	var rows [][]string
	line := func(name, text string) { rows = append(rows, []string{name, cmp.Or(text, "none")}) }
	line("SUITE", tlcp.CipherSuiteName(state.CipherSuite))
	line("SERVER NAME", state.ServerName)
	line("PROTOCOL", state.NegotiatedProtocol)
	for i, cert := range state.PeerCertificates {
		line([]string{"SIGNING", "ENCRYPTION", "CA"}[min(i, 2)], describeSM2(cert))
	}
	verified := "both certificates, and the name"
	if state.VerifiedChains == nil {
		verified = "nothing (--insecure)"
	}
	line("VERIFIED", verified)
	line("RESUMPTION", resumption)
	return writeTable(w, "", rows...)
}

func describeSM2(c *smx509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return fmt.Sprintf("%s, for %s, by %s, until %s, serial %X", c.Subject, cmp.Or(strings.Join(names, " "), "no host"),
		c.Issuer, c.NotAfter.UTC().Format(time.RFC3339), c.SerialNumber)
}

// request gets the path and prints the body.
func (c *tlcpClient) request(conn *tlcp.Conn, stdout, stderr io.Writer) error {
	target, err := url.ParseRequestURI(c.get)
	if err != nil {
		return usagef("--get: %v", err)
	}
	host, port, _ := net.SplitHostPort(c.address) // checked before
	request := &http.Request{Method: http.MethodGet, URL: target, Host: cmp.Or(c.sni, host), Header: http.Header{}, Close: true}
	if port != "443" {
		request.Host = net.JoinHostPort(request.Host, port)
	}
	if err := request.Write(conn); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or of no more use
	fmt.Fprintln(stderr, printable(response.Proto+" "+response.Status))
	_, err = io.Copy(stdout, response.Body)
	return err
}
