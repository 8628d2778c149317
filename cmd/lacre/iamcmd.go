package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// iamCommand groups the commands over the identity API. All but a user's own keys and
// password are for administrators of the account.
//
// Lists and what was made go to stdout, everything else to stderr. Passwords come from
// LACRE_NEW_PASSWORD, a prompt or standard input, and never from an argument, which others
// can read.
func iamCommand(env map[string]string) *cobra.Command {
	s := &session{env: env, target: target{Identity: true}}
	cmd := &cobra.Command{
		Use:   "iam",
		Short: "Manage users, projects, roles and access keys",
		Long: `Manage who may use this Lacre: users with passwords and access keys, projects, and roles.
A user has at most one role in a project: admin, operator, viewer, or a named set of
permissions made with 'lacre iam role create'. Administrators of the account manage all of
it; everybody may change the own password and manage own access keys.`,
		Example: `  lacre iam user create olga --data-dir ./data < password.txt
  lacre iam user grant olga operator --data-dir ./data
  lacre iam key create --for olga --description "CI" --data-dir ./data -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	s.target.flags(cmd.PersistentFlags())
	cmd.PersistentFlags().StringVarP(&s.output, "output", "o", "table", "json or table")
	cmd.PersistentFlags().String("config", "", "file with these settings")
	cmd.AddCommand(
		group("user", "Manage users and what they may do", createUserCommand(s), listUsersCommand(s), switchUserCommand(s, "disable", false),
			switchUserCommand(s, "enable", true), deleteUserCommand(s), passwordCommand(s), grantCommand(s), revokeCommand(s)),
		group("project", "Manage projects", createProjectCommand(s), listProjectsCommand(s)),
		group("role", "Manage roles: named sets of permissions", createRoleCommand(s), listRolesCommand(s), deleteRoleCommand(s)),
		group("key", "Manage access keys (AK/SK)", createKeyCommand(s), listKeysCommand(s), switchKeyCommand(s, "disable", "inactive"),
			switchKeyCommand(s, "enable", "active"), deleteKeyCommand(s)),
		accountAuditCommand(s),
	)
	return cmd
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// identity calls the identity API, whose paths are not below the project.
func (s *session) identity(ctx context.Context, method, path string, body, out any) error {
	_, err := s.do(ctx, method, s.base+path, body, out)
	return err
}

// identities reads the members of a list of the identity API.
func (s *session) identities(ctx context.Context, path, member string) ([]json.RawMessage, error) {
	var page map[string]json.RawMessage
	if err := s.identity(ctx, http.MethodGet, path, nil, &page); err != nil {
		return nil, err
	}
	return decode[[]json.RawMessage](page[member])
}

// named is what can be meant by its id or its name.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// resolve returns the id of the user or project (kind) that which means.
func (s *session) resolve(ctx context.Context, kind, which string) (string, error) {
	raw, err := s.identities(ctx, "/v3/"+kind+"s", kind+"s")
	if err != nil {
		return "", err
	}
	all, err := decodeList[named](raw)
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if one.ID == which || one.Name == which {
			return one.ID, nil
		}
	}
	return "", hinted{fmt.Errorf("no %s is called %s", kind, which), "see 'lacre iam " + kind + " list'"}
}

// newPassword gets a password that is to be set: from LACRE_NEW_PASSWORD, from the person
// at the terminal without showing it, or from the first line of standard input.
func (s *session) newPassword(cmd *cobra.Command) (string, error) {
	password, err := s.env["LACRE_NEW_PASSWORD"], error(nil)
	if password == "" {
		if f, ok := cmd.InOrStdin().(*os.File); ok && isTerminal(f) {
			password, err = prompt(cmd.Context(), f, cmd.ErrOrStderr(), "New password: ")
		} else {
			password, err = firstLine(cmd.InOrStdin())
		}
	}
	if err != nil {
		return "", fmt.Errorf("reading the new password: %w", err)
	}
	if password == "" {
		return "", hinted{usagef("no new password"), "set LACRE_NEW_PASSWORD, or give the password on standard input: … < FILE"}
	}
	return password, nil
}

// isTerminal tells whether a person may be typing. The null device is a character device
// too, and standard input whenever there is none.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// firstLine reads a line, without its end and whatever comes after.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// segment makes one segment of a path.
func segment(text string) string { return "/" + url.PathEscape(text) }

// user is what the commands show of a user.
type user struct {
	named
	Enabled       bool `json:"enabled"`
	Administrator bool `json:"administrator"`
}

const userHeader = "ID\tNAME\tENABLED\tADMINISTRATOR"

func (u user) row() []string {
	return []string{u.ID, u.Name, fmt.Sprint(u.Enabled), fmt.Sprint(u.Administrator)}
}

// role is what the commands show of a role.
type role struct {
	named
	DomainID    string   `json:"domain_id"`
	Permissions []string `json:"permissions"`
}

const roleHeader = "NAME\tMADE BY\tPERMISSIONS"

func (r role) row() []string {
	by := "lacre"
	if r.DomainID != "" {
		by = "account"
	}
	return []string{r.Name, by, strings.Join(r.Permissions, ",")}
}

// project is what the commands show of a project.
type project struct{ named }

const projectHeader = "ID\tNAME"

func (p project) row() []string { return []string{p.ID, p.Name} }

// accessKey is what the commands show of an access key. The secret is known once.
type accessKey struct {
	Access      string `json:"access"`
	Secret      string `json:"secret"`
	Status      string `json:"status"`
	Description string `json:"description"`
	Created     string `json:"create_time"`
}

const keyHeader = "ACCESS KEY\tSTATUS\tCREATED\tDESCRIPTION"

func (k accessKey) row() []string {
	return []string{k.Access, k.Status, k.Created, cmp.Or(k.Description, "-")}
}
