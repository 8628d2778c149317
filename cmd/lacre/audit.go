package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// auditCommand shows who changed what.
func auditCommand(env map[string]string) *cobra.Command {
	s := &session{env: env}
	var resource string
	var limit int
	check := func() error {
		if limit < 1 {
			return usagef("--limit: expected at least 1")
		}
		return nil
	}
	cmd := &cobra.Command{
		Use: "audit", Short: "List who changed what in the project, newest first", Args: cobra.NoArgs,
		Long: `Audit lists the changes of the project, newest first: when, what, who and from where. It is
for administrators of the project, and roles with the permission apig:audits:list. Changes of
users, roles and projects belong to no project and are not shown.`,
		Example: `  lacre audit --data-dir ./data
  lacre audit --data-dir ./data --resource certificate/f874f864787ccfbced7a42ef02008226 -o json`,
		RunE: s.with(check, func(cmd *cobra.Command, _ []string) error {
			rows, err := s.audits(cmd.Context(), resource, limit)
			if err != nil {
				return err
			}
			return printList[auditRow](cmd, s, rows, auditHeader)
		}),
	}
	s.target.flags(cmd.Flags())
	cmd.Flags().StringVarP(&s.output, "output", "o", "table", "json or table")
	cmd.Flags().String("config", "", "file with these settings")
	cmd.Flags().StringVar(&resource, "resource", "", "only the changes of this one, such as certificate/ID (default: all)")
	cmd.Flags().IntVar(&limit, "limit", 20, "changes to list at most")
	return cmd
}

// audits reads pages until it has enough, or all.
func (s *session) audits(ctx context.Context, resource string, limit int) (rows []json.RawMessage, err error) {
	query := url.Values{"resource": {resource}}
	for len(rows) < limit {
		query.Set("limit", fmt.Sprint(min(limit-len(rows), 500)))
		var page struct {
			Audits []json.RawMessage `json:"audits"`
			Next   string            `json:"next_marker"`
		}
		if err := s.call(ctx, http.MethodGet, "/audit?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		if rows = append(rows, page.Audits...); page.Next == "" {
			break
		}
		query.Set("marker", page.Next)
	}
	return rows, nil
}

// auditRow is what the command shows of a row.
type auditRow struct {
	Time     string `json:"time"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	User     string `json:"user_name"`
	Source   string `json:"source"`
	Detail   string `json:"detail"`
}

const auditHeader = "TIME\tACTION\tRESOURCE\tUSER\tSOURCE\tDETAIL"

func (a auditRow) row() []string {
	return []string{a.Time, a.Action, a.Resource, a.User, a.Source, a.Detail}
}
