package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

const versionHeader = "VERSION\tSTATE\tALGORITHM\tSAN\tNOT AFTER\tSERIAL\tTRUST ROOTS\tSTAPLE UNTIL\tCREATED"

func (v certVersion) row() []string {
	if v.Damaged {
		return []string{fmt.Sprint(v.ID), "damaged", "-", "-", "-", "-", "-", "-", "-"}
	}
	state := "kept"
	if v.Current {
		state = "current"
	}
	roots := "no"
	if v.HasTrustRoot {
		roots = "yes"
	}
	return []string{fmt.Sprint(v.ID), state, v.AlgorithmType, strings.Join(v.SAN, ","), v.NotAfter.Format(time.RFC3339),
		v.SerialNumber, roots, cmp.Or(v.StapleUntil, "-"), v.CreateTime.Format(time.RFC3339)}
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
			return printList[certVersion](cmd, s, page.Versions, versionHeader)
		}),
	}
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
			return s.write(cmd, http.MethodPost, "/certificates/"+c.ID+"/rollback", dryRun, map[string]int{"version_id": number})
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check and warn, and change nothing")
	return cmd
}
