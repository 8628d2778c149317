package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// rollout is what the command shows of the API's answer.
type rollout struct {
	Version     int         `json:"version_id"`
	Fingerprint string      `json:"fingerprint"`
	Complete    bool        `json:"complete"`
	Nodes       []placement `json:"nodes"`
}

type placement struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Proof    string    `json:"proof"`
	Reason   string    `json:"reason"`
	Alive    bool      `json:"alive"`
	Reported time.Time `json:"report_time"`
}

func rolloutCommand(s *session) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "rollout ID|NAME", Short: "Show which nodes serve a certificate's current version", Args: cobra.ExactArgs(1),
		Example: `  lacre cert rollout web_cert --data-dir ./data
  lacre cert rollout web_cert --data-dir ./data --wait 1m && echo every node serves it`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			r, raw, err := s.rolledOut(cmd.Context(), c.ID, wait)
			if err != nil {
				return err
			}
			if s.output == "json" {
				err = writeJSON(cmd.OutOrStdout(), raw)
			} else {
				err = r.print(cmd.OutOrStdout())
			}
			if err == nil && wait > 0 && !r.Complete {
				return fmt.Errorf("version %d is not served by every node after %v", r.Version, wait)
			}
			return err
		}),
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long for every node to serve it, and fail if one does not")
	return cmd
}

// rolledOut asks until the rollout is complete, or for as long as patience lasts.
func (s *session) rolledOut(ctx context.Context, id string, patience time.Duration) (r rollout, raw json.RawMessage, err error) {
	for end := time.Now().Add(patience); ; {
		if err := s.call(ctx, http.MethodGet, "/certificates/"+id+"/rollout", nil, &raw); err != nil {
			return r, nil, err
		}
		r = rollout{}
		if err := json.Unmarshal(raw, &r); err != nil {
			return r, nil, fmt.Errorf("reading the answer: %w", err)
		}
		if r.Complete || !time.Now().Before(end) {
			return r, raw, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return r, nil, ctx.Err()
		}
	}
}

func (r *rollout) print(out io.Writer) error {
	fmt.Fprintf(out, "version %d, SHA-256 %s\n", r.Version, r.Fingerprint)
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tPROOF\tALIVE\tREPORTED\tREASON")
	for _, n := range r.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%t\t%s\t%s\n", printable(n.Name), n.State, n.Proof, n.Alive, n.Reported.Format(time.RFC3339), printable(n.Reason))
	}
	return t.Flush()
}
