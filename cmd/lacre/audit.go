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
	cmd := &cobra.Command{
		Use: "audit", Short: "List who changed what in the project, newest first",
		Long: `Audit lists the changes of the project, newest first: when, what, who and from where. It is
for administrators of the project, and roles with the permission apig:audits:list. 'lacre iam
audit' has the changes of users, roles, projects and access keys, which belong to no project.`,
		Example: `  lacre audit --data-dir ./data
  lacre audit --data-dir ./data --resource certificate/f874f864787ccfbced7a42ef02008226 -o json`,
	}
	s.target.flags(cmd.Flags())
	cmd.Flags().StringVarP(&s.output, "output", "o", "table", "json or table")
	cmd.Flags().String("config", "", "file with these settings")
	return s.listingAudits(cmd, "certificate/ID", s.projectAudits)
}

// accountAuditCommand shows who changed what in the account.
func accountAuditCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "List who changed users, roles, projects and access keys, newest first",
		Example: `  lacre iam audit --data-dir ./data
  lacre iam audit --data-dir ./data --resource user/d7fe0750d69b867985f51c08c7edc5cc`,
	}
	return s.listingAudits(cmd, "user/ID", s.accountAudits)
}

// auditPage is a page of either audit.
type auditPage struct {
	Audits []json.RawMessage `json:"audits"`
	Next   string            `json:"next_marker"`
}

// readAudits asks for a page.
type readAudits func(ctx context.Context, query string, page *auditPage) error

func (s *session) projectAudits(ctx context.Context, query string, page *auditPage) error {
	return s.call(ctx, http.MethodGet, "/audit?"+query, nil, page)
}

func (s *session) accountAudits(ctx context.Context, query string, page *auditPage) error {
	return s.identity(ctx, http.MethodGet, "/v3/audit?"+query, nil, page)
}

// listingAudits has cmd list what read reads. resource is an example of one.
func (s *session) listingAudits(cmd *cobra.Command, resource string, read readAudits) *cobra.Command {
	var wanted string
	var limit int
	check := func() error {
		if limit < 1 {
			return usagef("--limit: expected at least 1")
		}
		return nil
	}
	cmd.Args = cobra.NoArgs
	cmd.Flags().StringVar(&wanted, "resource", "", "only the changes of this one, such as "+resource+" (default: all)")
	cmd.Flags().IntVar(&limit, "limit", 20, "changes to list at most")
	cmd.RunE = s.with(check, func(cmd *cobra.Command, _ []string) error {
		rows, err := read.audits(cmd.Context(), wanted, limit)
		if err != nil {
			return err
		}
		return printList[auditRow](cmd, s, rows, auditHeader)
	})
	return cmd
}

// audits reads pages until it has enough, or all.
func (read readAudits) audits(ctx context.Context, resource string, limit int) (rows []json.RawMessage, err error) {
	query := url.Values{"resource": {resource}}
	for len(rows) < limit {
		query.Set("limit", fmt.Sprint(min(limit-len(rows), 500)))
		var page auditPage
		if err := read(ctx, query.Encode(), &page); err != nil {
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
