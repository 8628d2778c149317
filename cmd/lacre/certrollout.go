package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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

const placementHeader = "NODE\tSTATE\tPROOF\tALIVE\tREPORTED\tREASON"

func (p placement) row() []string {
	return []string{p.Name, p.State, p.Proof, fmt.Sprint(p.Alive), p.Reported.Format(time.RFC3339), p.Reason}
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
			if s.output == "table" {
				fmt.Fprintf(cmd.OutOrStdout(), "version %d, SHA-256 %s\n", r.Version, printable(r.Fingerprint))
			}
			err = s.print(cmd, raw, placementHeader, rowsOf(r.Nodes)...)
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
		if r, err = decode[rollout](raw); err != nil {
			return r, nil, err
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
