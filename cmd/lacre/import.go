package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"lacre"
	"lacre/layout"
)

// maxParallel bounds the calls that a command makes at once.
const maxParallel = 64

// importOptions are the flags of lacre import.
type importOptions struct {
	dryRun   bool
	parallel int
	bind     bool
	group    string
	instance string
	upstream string
}

func (o *importOptions) check() error {
	switch {
	case o.parallel < 1 || o.parallel > maxParallel:
		return usagef("--parallel: expected 1 to %d", maxParallel)
	case !o.bind && (o.group != "" || o.instance != "" || o.upstream != ""):
		return usagef("--group, --instance-id and --upstream go with --bind")
	}
	if err := lacre.CheckUpstream(o.upstream); err != nil {
		return usagef("--upstream: %v", err)
	}
	return nil
}

// importCommand uploads what other servers use.
func importCommand(env map[string]string) *cobra.Command {
	s := &session{env: env}
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE|DIR...",
		Short: "Upload the certificates of nginx, HAProxy, certbot or plain PEM files",
		Long: `Upload certificate pairs found in files and directories: PEM files, whose keys are found
by their public key; certbot's live directory; nginx and HAProxy configurations, of which
only what they name is taken.

A pair becomes a certificate named after its file, so that an import may be repeated: what
is there already is left alone, what was renewed in its file is modified, and nothing is
replaced by what is older. An import that was interrupted goes on when it is run again.

With --bind each name is bound to a domain as well, so that the edge serves it: the names
of the configuration, or those of the certificate without one. Domains that are missing
are created in API groups NAME_1, NAME_2 ... of --group, as many as the quota asks for.`,
		Example: `  lacre import /etc/letsencrypt --data-dir ./data --dry-run
  lacre import /etc/nginx --data-dir ./data --bind --upstream http://127.0.0.1:8080`,
		Args: cobra.MinimumNArgs(1),
		RunE: s.with(o.check, func(cmd *cobra.Command, args []string) error {
			return (&importing{session: s, importOptions: o}).run(cmd, args)
		}),
	}
	s.target.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringVarP(&s.output, "output", "o", "table", "json or table")
	f.String("config", "", "file with these settings")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done and change nothing")
	f.IntVar(&o.parallel, "parallel", 8, fmt.Sprintf("calls at once, 1 to %d", maxParallel))
	f.BoolVar(&o.bind, "bind", false, "bind the names to domains, so that the edge serves them")
	f.StringVar(&o.group, "group", "", "start of the names of the API groups for new domains (default imported)")
	f.StringVar(&o.instance, "instance-id", "", "instance of the domains (default: the only one of the project)")
	f.StringVar(&o.upstream, "upstream", "", "where requests to new domains go, such as http://10.0.0.7:8080")
	return cmd
}

// importing is one run of lacre import.
type importing struct {
	*session
	importOptions
	held *holdings
}

func (im *importing) run(cmd *cobra.Command, args []string) error {
	found, err := layout.Find(args...)
	if err != nil {
		return err
	}
	if err := im.chooseInstance(cmd.Context()); err != nil { // before anything is uploaded
		return err
	}
	if im.held, err = im.holdings(cmd.Context()); err != nil {
		return err
	}
	rows, early := im.uploadAll(cmd, found.Pairs)
	rows = append(rows, noted(found.Notes)...)
	if im.bind {
		var more []*importRow
		more, early = im.bindAll(cmd, found.Pairs, rows, early)
		rows = append(rows, more...)
	}
	if err := im.report(cmd, rows); err != nil {
		return err
	}
	return verdict(early, rows)
}

// uploadAll brings every pair to the API. The rows are in the order of the pairs. The
// error is why the import has to end early.
func (im *importing) uploadAll(cmd *cobra.Command, pairs []*layout.Pair) ([]*importRow, error) {
	rows := make([]*importRow, len(pairs))
	early := im.each(cmd, "certificates", len(pairs), func(i int) error {
		var err error
		rows[i], err = im.upload(cmd.Context(), pairs[i])
		return err
	})
	for i, p := range pairs {
		if rows[i] == nil {
			rows[i] = rowOf(p)
			rows[i].Result, rows[i].Reason = resultLeft, "the import ended before its turn"
		}
	}
	return rows, early
}

// each calls do for 0 to n-1, a bounded number at once. When the command is interrupted,
// or a call says that there is no point in going on, calls that have begun are finished
// and the reason is returned.
func (im *importing) each(cmd *cobra.Command, what string, n int, do func(i int) error) error {
	bar := newProgress(cmd.ErrOrStderr(), n, what)
	defer bar.end()
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(im.parallel, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					stop(err)
				}
				bar.step()
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// fatal tells whether err would come again with the next file: the API is not there any
// more, or does not know us.
func fatal(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	no, ok := errors.AsType[*refused](err)
	return ok && no.status == 401
}
