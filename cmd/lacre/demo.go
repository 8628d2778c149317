package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// demoHost is the domain of the demo; the name is reserved for testing (RFC 6761).
const demoHost = "shop.lacre.test"

func demoCommand(env map[string]string) *cobra.Command {
	var once, sm2 bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See a certificate modified and served, in a temporary directory",
		Long: `Start all of Lacre in a temporary directory with a throw-away CA and a small backend,
create a certificate and a domain, show the handshake, modify the certificate as the
API page says, and show the handshake again. Then it stays up for you to try more.`,
		Example: "  lacre demo\n  lacre demo --once\n  lacre demo --sm2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), once, sm2)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "exit when the modification has been proven")
	cmd.Flags().BoolVar(&sm2, "sm2", false, "with an SM2 certificate, served over TLCP")
	return cmd
}

// demo runs a node and plays the visitor.
func demo(ctx context.Context, out, talk io.Writer, once, sm2 bool) (err error) {
	dir, err := os.MkdirTemp("", "lacre-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var logged bytes.Buffer
	n, err := open(ctx, demoConfig(dir), slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn})), time.Now)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	visited := make(chan error, 1)
	err = n.run(ctx, func() error {
		if err := n.announce(); err != nil {
			return err
		}
		go func() {
			err := visit(ctx, n, out, talk, once, sm2)
			if err != nil || once {
				stop()
			}
			visited <- err
		}()
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, logged.Bytes())
	}
	return <-visited
}

func demoConfig(dir string) Config {
	var cfg Config
	cfg.flags(pflag.NewFlagSet("demo", pflag.ContinueOnError)) // the defaults of serve
	cfg.DataDir, cfg.API, cfg.Edge, cfg.EdgeHTTP = dir, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.DrainTime = 2 * time.Second
	return cfg
}

// visitor plays a platform engineer who rotates a certificate.
type visitor struct {
	*client
	out      io.Writer
	instance string
	edge     string
	ca       *demoCA
	id       string // of the certificate
}

func visit(ctx context.Context, n *node, out, talk io.Writer, once, sm2 bool) error {
	t := target{DataDir: n.cfg.DataDir}
	if err := t.complete(nil); err != nil {
		return err
	}
	c, err := connect(ctx, t, talk)
	if err != nil {
		return err
	}
	var made Credentials
	if err := readJSON(filepath.Join(n.cfg.DataDir, credentialsFile), &made); err != nil {
		return err
	}
	ca, err := newDemoCA(time.Now(), sm2)
	if err != nil {
		return err
	}
	v := &visitor{client: c, out: out, instance: made.InstanceID, edge: n.endpoints().EdgeAddr, ca: ca}
	if err := v.play(ctx); err != nil || once {
		return err
	}
	return v.invite(n, t)
}

// play creates, shows, modifies and shows again.
func (v *visitor) play(ctx context.Context) error {
	backend, err := startBackend()
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { backend.Close() })
	first, err := v.publish(ctx, backend.url)
	if err != nil {
		return err
	}
	fmt.Fprintf(v.out, "1. created certificate demo_cert (%s) and bound it to %s\n", v.id, demoHost)
	kept, err := v.handshake(ctx)
	if err != nil {
		return err
	}
	defer kept.Close()
	if err := v.shown("2. handshake before", kept, first); err != nil {
		return err
	}
	second, took, err := v.modify(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(v.out, "3. PUT /v2/{project_id}/apic/certificates/%s: 200 after %s, durable and served\n", v.id, took.Round(10*time.Microsecond))
	fresh, err := v.handshake(ctx)
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := v.shown("4. handshake after ", fresh, second); err != nil {
		return err
	}
	return v.compare(kept, fresh)
}

// publish creates the certificate, a group and a domain, and binds them.
func (v *visitor) publish(ctx context.Context, upstream string) (*demoLeaf, error) {
	leaf, err := v.ca.leaf(demoHost, 1)
	if err != nil {
		return nil, err
	}
	var cert, group, domain struct {
		ID string `json:"id"`
	}
	if err := v.call(ctx, http.MethodPost, "/certificates", leaf.body("demo_cert"), &cert); err != nil {
		return nil, fmt.Errorf("creating the certificate: %w", err)
	}
	v.id = cert.ID
	groups := "/instances/" + v.instance + "/api-groups"
	if err := v.call(ctx, http.MethodPost, groups, map[string]any{"name": "demo_group"}, &group); err != nil {
		return nil, fmt.Errorf("creating the API group: %w", err)
	}
	body := map[string]any{"url_domain": demoHost, "min_ssl_version": "TLSv1.2", "is_http_redirect_to_https": true, "upstream": upstream}
	if err := v.call(ctx, http.MethodPost, groups+"/"+group.ID+"/domains", body, &domain); err != nil {
		return nil, fmt.Errorf("creating the domain: %w", err)
	}
	bind := map[string]any{"domains": []any{map[string]any{"domain": demoHost, "instance_ids": []string{v.instance}}}}
	if err := v.call(ctx, http.MethodPost, "/certificates/"+v.id+"/domains/attach", bind, nil); err != nil {
		return nil, fmt.Errorf("binding the certificate: %w", err)
	}
	return leaf, nil
}

// modify is the call this product starts from.
func (v *visitor) modify(ctx context.Context) (*demoLeaf, time.Duration, error) {
	leaf, err := v.ca.leaf(demoHost, 2)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	if err := v.call(ctx, http.MethodPut, "/certificates/"+v.id, leaf.body("demo_cert"), nil); err != nil {
		return nil, 0, fmt.Errorf("modifying the certificate: %w", err)
	}
	return leaf, time.Since(start), nil
}

func (v *visitor) shown(what string, c *demoConn, want *demoLeaf) error {
	got := c.leaf()
	if !bytes.Equal(got.Raw, want.cert.Raw) {
		return fmt.Errorf("%s: served serial %s, expected %s", what, got.SerialNumber, want.cert.SerialNumber)
	}
	answer, err := c.get("/")
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(v.out, "%s: serial %s, sha256 %s…, %s\n   GET https://%s/ -> %s\n", what, got.SerialNumber, c.fingerprint()[:16], c.version(), demoHost, answer)
	return nil
}

// compare shows that the connection from before the change is still good.
func (v *visitor) compare(kept, fresh *demoConn) error {
	if kept.leaf().Equal(fresh.leaf()) {
		return errors.New("the handshake after the modification was served the old certificate")
	}
	if _, err := kept.get("/"); err != nil {
		return fmt.Errorf("the connection from before the modification was dropped: %w", err)
	}
	fmt.Fprintln(v.out, "5. the connection from before the modification still works: no reload, nothing dropped")
	return nil
}
