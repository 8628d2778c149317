package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// certificate is what the commands show of an answer of the API.
type certificate struct {
	ID                 string    `json:"id"`
	Name               string    `json:"name"`
	Type               string    `json:"type"`
	InstanceID         string    `json:"instance_id"`
	CommonName         string    `json:"common_name"`
	SAN                []string  `json:"san"`
	AlgorithmType      string    `json:"algorithm_type"`
	SignatureAlgorithm string    `json:"signature_algorithm"`
	SerialNumber       string    `json:"serial_number"`
	NotBefore          time.Time `json:"not_before"`
	NotAfter           time.Time `json:"not_after"`
	HasTrustedRootCA   bool      `json:"is_has_trusted_root_ca"`
	UpdateTime         time.Time `json:"update_time"`
}

const (
	listedHeader = "ID\tNAME\tTYPE\tALGORITHM\tSAN\tNOT AFTER"
	certHeader   = listedHeader + "\tSERIAL"
)

func (c certificate) row() []string {
	return append(listedCertificate(c).row(), cmp.Or(c.SerialNumber, "-"))
}

// listedCertificate is a certificate as lists have it, without what is shown of one alone.
type listedCertificate certificate

func (c listedCertificate) row() []string {
	return []string{c.ID, c.Name, c.Type, c.AlgorithmType, strings.Join(c.SAN, ","), c.NotAfter.Format(time.RFC3339)}
}

// certCommand groups the commands over the certificate API.
func certCommand(env map[string]string) *cobra.Command {
	s := &session{env: env}
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Create, list, show, modify, roll back and delete certificates and their revocation lists",
		Example: `  lacre cert create --data-dir ./data --name web_cert --cert fullchain.pem --key key.pem
  lacre cert modify web_cert --data-dir ./data --cert fullchain.pem --key key.pem
  LACRE_API_URL=https://lacre.internal:8080 LACRE_TOKEN=… lacre cert list --project-id 73d6… -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	s.target.flags(cmd.PersistentFlags())
	cmd.PersistentFlags().StringVarP(&s.output, "output", "o", "table", "json or table")
	cmd.PersistentFlags().String("config", "", "file with these settings")
	cmd.AddCommand(createCommand(s), listCommand(s), showCommand(s), modifyCommand(s), rolloutCommand(s), versionsCommand(s), rollbackCommand(s), deleteCommand(s), crlCommand(s))
	return cmd
}

// session is one invocation of a command over the API.
type session struct {
	env    map[string]string
	target target
	output string
	*client
}

// with completes the settings, checks them, logs in and calls do. check may be nil.
func (s *session) with(check func() error, do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if err := fill(cmd.Flags(), s.env); err != nil {
			return err
		}
		if s.output != "json" && s.output != "table" {
			return usagef("-o: expected json or table")
		}
		if check != nil {
			if err := check(); err != nil {
				return err
			}
		}
		if err := s.target.complete(s.env); err != nil {
			return err
		}
		if s.client, err = connect(cmd.Context(), s.target, cmd.ErrOrStderr()); err != nil {
			return err
		}
		return do(cmd, args)
	}
}

// pemFiles are the files of an upload.
type pemFiles struct {
	cert, key, ca     string
	sm2               bool
	signCert, signKey string
	staple            string
	noCA              bool // the CAs there are go
	dryRun            bool
}

func (p *pemFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.cert, "cert", "", "PEM file with the leaf and its chain (mandatory)")
	cmd.Flags().StringVar(&p.key, "key", "", "PEM file with the private key (mandatory)")
	cmd.Flags().StringVar(&p.ca, "ca", "", "PEM file with the CAs that client certificates must chain to")
	cmd.Flags().StringVar(&p.staple, "ocsp-staple", "", "DER file with an OCSP response about the leaf")
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "check and warn, and change nothing")
	cmd.Flags().BoolVar(&p.sm2, "sm2", false, "SM2: --cert and --key are the encryption pair, --sign-cert and --sign-key the signing pair")
	cmd.Flags().StringVar(&p.signCert, "sign-cert", "", "PEM file with the signing certificate (with --sm2)")
	cmd.Flags().StringVar(&p.signKey, "sign-key", "", "PEM file with the private key of the signing certificate (with --sm2)")
}

func (p *pemFiles) check() error {
	switch {
	case p.cert == "" || p.key == "":
		return usagef("--cert and --key are mandatory")
	case p.sm2 && (p.signCert == "" || p.signKey == ""):
		return usagef("--sign-cert and --sign-key are mandatory with --sm2")
	case p.noCA && p.ca != "":
		return usagef("--ca and --no-ca: expected one of them")
	case !p.sm2 && p.signCert+p.signKey != "":
		return usagef("--sign-cert and --sign-key are only for --sm2")
	}
	return nil
}

// body reads the files into the fields of a create or modify request.
func (p *pemFiles) body(name string) (map[string]any, error) {
	body := map[string]any{"name": name}
	if p.sm2 {
		body["algorithm_type"] = "SM2"
	}
	if p.noCA {
		body["trusted_root_ca"] = ""
	}
	for field, path := range map[string]string{
		"cert_content": p.cert, "private_key": p.key, "trusted_root_ca": p.ca,
		"cert_content_sign": p.signCert, "private_key_sign": p.signKey,
	} {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		body[field] = string(text)
	}
	if p.staple == "" {
		return body, nil
	}
	der, err := os.ReadFile(p.staple)
	body["ocsp_staple"] = base64.StdEncoding.EncodeToString(der)
	return body, err
}

func createCommand(s *session) *cobra.Command {
	var files pemFiles
	var name, instance string
	check := func() error {
		if name == "" {
			return usagef("--name is mandatory")
		}
		return files.check()
	}
	cmd := &cobra.Command{
		Use: "create", Short: "Upload a new certificate", Args: cobra.NoArgs,
		Example: `  lacre cert create --data-dir ./data --name web_cert --cert fullchain.pem --key key.pem
  lacre cert create --data-dir ./data --name sm2_cert --sm2 --cert enc.pem --key enc.key --sign-cert sign.pem --sign-key sign.key`,
		RunE: s.with(check, func(cmd *cobra.Command, _ []string) error {
			body, err := files.body(name)
			if err != nil {
				return err
			}
			if instance != "" {
				body["type"], body["instance_id"] = "instance", instance
			}
			return s.write(cmd, http.MethodPost, "/certificates", files.dryRun, body)
		}),
	}
	files.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name: 4 to 50 letters, digits or underscores (mandatory)")
	cmd.Flags().StringVar(&instance, "instance-id", "", "instance it is for (default: all of the project)")
	return cmd
}

func modifyCommand(s *session) *cobra.Command {
	var files pemFiles
	var name string
	cmd := &cobra.Command{
		Use: "modify ID|NAME", Short: "Replace a certificate's content; it is served when the command returns", Args: cobra.ExactArgs(1),
		Long: `Modify replaces the content of a certificate: leaf, chain and key, and the CAs of its clients
with --ca (they stay without it, --no-ca drops them). The node that answers serves it when the
command returns; 'lacre cert rollout' tells of the others.`,
		Example: `  lacre cert modify web_cert --data-dir ./data --cert fullchain.pem --key key.pem
  lacre cert modify sm2_cert --data-dir ./data --sm2 --cert enc.pem --key enc.key --sign-cert sign.pem --sign-key sign.key`,
		RunE: s.with(files.check, func(cmd *cobra.Command, args []string) error {
			old, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if name == "" {
				name = old.Name
			}
			body, err := files.body(name)
			if err != nil {
				return err
			}
			return s.write(cmd, http.MethodPut, "/certificates/"+old.ID, files.dryRun, body)
		}),
	}
	files.flags(cmd)
	cmd.Flags().BoolVar(&files.noCA, "no-ca", false, "drop the CAs that client certificates must chain to")
	cmd.Flags().StringVar(&name, "name", "", "new name (default: unchanged)")
	return cmd
}

func showCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "show ID|NAME", Short: "Show one certificate", Args: cobra.ExactArgs(1),
		Example: `  lacre cert show web_cert --data-dir ./data -o json`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.show(cmd, http.MethodGet, "/certificates/"+c.ID, nil)
		}),
	}
}

func deleteCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID|NAME", Short: "Delete a certificate that no domain uses", Args: cobra.ExactArgs(1),
		Example: `  lacre cert delete web_cert --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.call(cmd.Context(), http.MethodDelete, "/certificates/"+c.ID, nil, nil)
		}),
	}
}

func listCommand(s *session) *cobra.Command {
	var instance, name string
	cmd := &cobra.Command{
		Use: "list", Short: "List certificates, newest first", Args: cobra.NoArgs,
		Example: `  lacre cert list --data-dir ./data -o json`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			raw, _, err := s.list(cmd.Context(), url.Values{"instance_id": {instance}, "name": {name}})
			if err != nil {
				return err
			}
			return printList[listedCertificate](cmd, s, raw, listedHeader)
		}),
	}
	cmd.Flags().StringVar(&instance, "instance-id", "", "only those usable in this instance (default: all)")
	cmd.Flags().StringVar(&name, "name", "", "only the one with this name")
	return cmd
}

// list reads all pages.
func (s *session) list(ctx context.Context, query url.Values) (raw []json.RawMessage, certs []certificate, err error) {
	const limit = 500
	for {
		query.Set("limit", fmt.Sprint(limit))
		query.Set("offset", fmt.Sprint(len(raw)))
		var page struct {
			Certs []json.RawMessage `json:"certs"`
		}
		if err := s.call(ctx, http.MethodGet, "/certificates?"+query.Encode(), nil, &page); err != nil {
			return nil, nil, err
		}
		if raw = append(raw, page.Certs...); len(page.Certs) < limit {
			certs, err = decodeList[certificate](raw)
			return raw, certs, err
		}
	}
}

var certificateID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// find returns the certificate with this id, or the only one with this name.
func (s *session) find(ctx context.Context, which string) (*certificate, error) {
	if certificateID.MatchString(which) {
		var c certificate
		return &c, s.call(ctx, http.MethodGet, "/certificates/"+which, nil, &c)
	}
	_, certs, err := s.list(ctx, url.Values{"instance_id": {""}, "name": {which}})
	if err != nil {
		return nil, err
	}
	switch len(certs) {
	case 1:
		return &certs[0], nil
	case 0:
		return nil, fmt.Errorf("no certificate is called %s", which)
	}
	return nil, hinted{fmt.Errorf("%d certificates are called %s", len(certs), which), "use the id; see 'lacre cert list'"}
}

// write is show of a call that changes something, unless it is a dry run.
func (s *session) write(cmd *cobra.Command, method, path string, dryRun bool, body any) error {
	if dryRun {
		path += "?dry_run=true"
		fmt.Fprintln(cmd.ErrOrStderr(), "dry run: nothing is changed; this is what it would be")
	}
	return s.show(cmd, method, path, body)
}

// show calls the API and prints the certificate it answers with.
func (s *session) show(cmd *cobra.Command, method, path string, body any) error {
	var raw json.RawMessage
	if err := s.call(cmd.Context(), method, path, body, &raw); err != nil {
		return err
	}
	return printOne[certificate](cmd, s, raw, certHeader)
}
