package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// certVersion is what the commands show of the API's answer about one version.
type certVersion struct {
	ID            int       `json:"version_id"`
	Current       bool      `json:"current"`
	Damaged       bool      `json:"damaged"`
	SAN           []string  `json:"san"`
	AlgorithmType string    `json:"algorithm_type"`
	SerialNumber  string    `json:"serial_number"`
	NotAfter      time.Time `json:"not_after"`
	HasTrustRoot  bool      `json:"is_has_trusted_root_ca"`
	StapleUntil   string    `json:"ocsp_next_update"`
	CreateTime    time.Time `json:"create_time"`
}

func versionsCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "versions ID|NAME", Short: "List the versions kept of a certificate, newest first", Args: cobra.ExactArgs(1),
		Example: `  lacre cert versions web_cert --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var page struct {
				Versions []json.RawMessage `json:"versions"`
			}
			// A page has room for the longest history, of 50 (--history).
			if err := s.call(cmd.Context(), http.MethodGet, "/certificates/"+c.ID+"/versions?limit=500", nil, &page); err != nil {
				return err
			}
			if s.output == "json" {
				return writeJSON(cmd.OutOrStdout(), page.Versions)
			}
			return versionTable(cmd.OutOrStdout(), page.Versions)
		}),
	}
}

func versionTable(w io.Writer, raw []json.RawMessage) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "VERSION\tSTATE\tALGORITHM\tSAN\tNOT AFTER\tSERIAL\tTRUST ROOTS\tSTAPLE UNTIL\tCREATED")
	for _, text := range raw {
		var v certVersion
		if err := json.Unmarshal(text, &v); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if v.Damaged {
			fmt.Fprintf(t, "%d\tdamaged\t-\t-\t-\t-\t-\t-\t-\n", v.ID)
			continue
		}
		state := "kept"
		if v.Current {
			state = "current"
		}
		roots := "no"
		if v.HasTrustRoot {
			roots = "yes"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, state, v.AlgorithmType, strings.Join(v.SAN, ","),
			v.NotAfter.Format(time.RFC3339), v.SerialNumber, roots, cmp.Or(v.StapleUntil, "-"), v.CreateTime.Format(time.RFC3339))
	}
	return t.Flush()
}

func rollbackCommand(s *session) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "rollback ID|NAME VERSION", Short: "Make an earlier version current again; it is served when the command returns", Args: cobra.ExactArgs(2),
		Example: `  lacre cert rollback web_cert 3 --data-dir ./data --dry-run
  lacre cert rollback web_cert 3 --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			number, err := strconv.Atoi(args[1])
			if err != nil {
				return hinted{usagef("VERSION: expected a number"), "see 'lacre cert versions'"}
			}
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			path := fmt.Sprintf("/certificates/%s/rollback?dry_run=%t", c.ID, dryRun)
			if dryRun {
				fmt.Fprintln(cmd.ErrOrStderr(), "dry run: nothing is changed; this is what it would be")
			}
			return s.show(cmd, http.MethodPost, path, map[string]int{"version_id": number})
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check and warn, and change nothing")
	return cmd
}
