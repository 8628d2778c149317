package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
)

// explanation is what the command shows of an answer of the API.
type explanation struct {
	Host      string `json:"canonical_host"`
	Handshake struct {
		Result      string `json:"result"`
		Reason      string `json:"reason"`
		Version     string `json:"version"`
		CipherSuite string `json:"cipher_suite"`
	} `json:"handshake"`
	Rule   *explainedRule `json:"rule"`
	Policy *struct {
		MinTLS        string `json:"min_ssl_version"`
		VerifyClient  bool   `json:"verified_client_certificate_enabled"`
		RedirectHTTPS bool   `json:"is_http_redirect_to_https"`
		HSTS          bool   `json:"hsts_enabled"`
		HTTP          bool   `json:"http_enabled"`
		HTTPS         bool   `json:"https_enabled"`
		Upstream      string `json:"upstream"`
	} `json:"policy"`
	Certificate *explainedCertificate `json:"certificate"`
	Request     *struct {
		Host   string `json:"host"`
		Result string `json:"result"`
		Status int    `json:"status"`
		Reason string `json:"reason"`
	} `json:"request"`
	Losers []struct {
		CertificateID string         `json:"certificate_id"`
		Domain        *explainedRule `json:"domain"`
		Reason        string         `json:"reason"`
	} `json:"losers"`
}

type explainedRule struct {
	Match    string `json:"match"`
	Host     string `json:"host"`
	DomainID string `json:"domain_id"`
}

type explainedCertificate struct {
	ID            string `json:"id"`
	Version       int    `json:"version"`
	Fingerprint   string `json:"fingerprint"`
	AlgorithmType string `json:"algorithm_type"`
	NotAfter      string `json:"not_after"`
	OCSP          string `json:"ocsp_next_update"`
}

// explainCommand asks the edge what it would do with a client.
func explainCommand(env map[string]string) *cobra.Command {
	s := &session{env: env}
	var host string
	offers := map[string]*[]string{"versions": {}, "cipher_suites": {}, "signature_algorithms": {}}
	cmd := &cobra.Command{
		Use: "explain HOST", Short: "Say which certificate and policy the edge uses for a client, and why", Args: cobra.ExactArgs(1),
		Long: `Explain asks the edge behind the API what it does with a client that asks for HOST: the
certificate, the domain that matches, its policy, how the handshake and a request end, and
what was not chosen. The answer comes from the code that handshakes run through. That a
handshake would fail is an answer too: the exit code is 0.`,
		Example: `  lacre explain www.example.com --data-dir ./data
  lacre explain www.example.com --data-dir ./data --versions TLSv1.2 --cipher-suites TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 -o json
  lacre explain www.example.com --data-dir ./data --versions TLCPv1.1`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			if err := checkSNI(args[0]); err != nil {
				return err
			}
			body := map[string]any{"sni": args[0]}
			for field, list := range offers {
				if len(*list) > 0 {
					body[field] = *list
				}
			}
			if cmd.Flags().Changed("host") {
				body["host"] = host
			}
			return s.explain(cmd, body)
		}),
	}
	s.target.flags(cmd.Flags())
	cmd.Flags().StringVarP(&s.output, "output", "o", "table", "json or table")
	cmd.Flags().String("config", "", "file with these settings")
	cmd.Flags().StringVar(&host, "host", "", "Host of the request after the handshake (default: HOST)")
	cmd.Flags().StringSliceVar(offers["versions"], "versions", nil, "TLS versions the client offers, such as TLSv1.2, or TLCPv1.1 alone (default: what browsers offer)")
	cmd.Flags().StringSliceVar(offers["cipher_suites"], "cipher-suites", nil, "cipher suites it offers, by name or number")
	cmd.Flags().StringSliceVar(offers["signature_algorithms"], "signature-algorithms", nil, "signature algorithms it offers, by IANA name or number")
	return cmd
}

// checkSNI finds what people write that no client asks for.
func checkSNI(name string) error {
	if _, err := netip.ParseAddr(name); err != nil && strings.ContainsAny(name, "/:*") {
		return usagef("HOST: expected a name as a client sends it, without scheme, port or path, and no pattern")
	}
	return nil
}

func (s *session) explain(cmd *cobra.Command, body map[string]any) error {
	var raw json.RawMessage
	if err := s.call(cmd.Context(), http.MethodPost, "/explain", body, &raw); err != nil {
		return err
	}
	e, err := decode[explanation](raw)
	if err != nil {
		return err
	}
	return s.print(cmd, raw, "", e.rows()...)
}

// rows are one for each thing that is known.
func (e *explanation) rows() (rows [][]string) {
	line := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	line("HANDSHAKE", "%s", spaced(e.Handshake.Result, e.Handshake.Version, e.Handshake.CipherSuite, e.Handshake.Reason))
	if r := e.Rule; r != nil {
		line("RULE", "%s", r)
	}
	if p := e.Policy; p != nil {
		line("POLICY", "min %s, client certificate %v, redirect to HTTPS %v, HSTS %v, HTTP %v, HTTPS %v", p.MinTLS, p.VerifyClient, p.RedirectHTTPS, p.HSTS, p.HTTP, p.HTTPS)
		line("UPSTREAM", "%s", p.Upstream)
	}
	if c := e.Certificate; c != nil {
		end := ""
		if e.Handshake.Result != "ok" {
			end = "; the handshake does not get that far"
		}
		line("CERTIFICATE", "%s version %d, %s, until %s%s", c.ID, c.Version, c.AlgorithmType, c.NotAfter, end)
		line("SHA-256", "%s", c.Fingerprint)
		if c.OCSP != "" {
			line("OCSP STAPLE", "until %s", c.OCSP)
		}
	}
	if r := e.Request; r != nil {
		status := ""
		if r.Status != 0 {
			status = fmt.Sprint(r.Status)
		}
		line("REQUEST", "%s", spaced(r.Result, status, r.Reason))
	}
	for _, l := range e.Losers {
		what := "certificate " + l.CertificateID
		if l.Domain != nil {
			what = l.Domain.String()
		}
		line("NOT CHOSEN", "%s: %s", what, l.Reason)
	}
	return rows
}

func (r *explainedRule) String() string {
	return fmt.Sprintf("%s %s, domain %s", r.Match, r.Host, r.DomainID)
}

// spaced joins what is not empty.
func spaced(parts ...string) string {
	out := ""
	for _, p := range parts {
		if p != "" && out != "" {
			out += " "
		}
		out += p
	}
	return out
}
