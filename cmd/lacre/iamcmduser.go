package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"
)

// changed calls the identity API and shows the one record it answers with.
func changed[T tabular](cmd *cobra.Command, s *session, method, path, member, header string, body map[string]any) error {
	var answer map[string]json.RawMessage
	if err := s.identity(cmd.Context(), method, path, map[string]any{member: body}, &answer); err != nil {
		return err
	}
	return printOne[T](cmd, s, answer[member], header)
}

func createUserCommand(s *session) *cobra.Command {
	var administrator bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a user; the password is asked for", Args: cobra.ExactArgs(1),
		Long: `Make a user without any role. The password, 8 to 128 bytes, is LACRE_NEW_PASSWORD, else
asked for at a terminal, else the first line of standard input. Give the user a role with 'lacre iam user grant'.`,
		Example: `  lacre iam user create olga --data-dir ./data < password.txt`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			password, err := s.newPassword(cmd)
			if err != nil {
				return err
			}
			body := map[string]any{"name": args[0], "password": password, "administrator": administrator}
			return changed[user](cmd, s, http.MethodPost, "/v3/users", "user", userHeader, body)
		}),
	}
	cmd.Flags().BoolVar(&administrator, "administrator", false, "let the user manage users, projects, roles and keys of the account")
	return cmd
}

func listUsersCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users of the account", Args: cobra.NoArgs,
		Example: `  lacre iam user list --data-dir ./data -o json`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			raw, err := s.identities(cmd.Context(), "/v3/users", "users")
			if err != nil {
				return err
			}
			return printList[user](cmd, s, raw, userHeader)
		}),
	}
}

func switchUserCommand(s *session, use string, enabled bool) *cobra.Command {
	short := "Keep a user out and end the user's tokens, within a second"
	if enabled {
		short = "Let a disabled user in again"
	}
	return &cobra.Command{
		Use: use + " NAME|ID", Short: short, Args: cobra.ExactArgs(1),
		Example: `  lacre iam user ` + use + ` olga --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			id, err := s.resolve(cmd.Context(), "user", args[0])
			if err != nil {
				return err
			}
			return changed[user](cmd, s, http.MethodPatch, "/v3/users/"+id, "user", userHeader, map[string]any{"enabled": enabled})
		}),
	}
}

func deleteUserCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME|ID", Short: "Delete a user with all access keys", Args: cobra.ExactArgs(1),
		Example: `  lacre iam user delete olga --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			id, err := s.resolve(cmd.Context(), "user", args[0])
			if err != nil {
				return err
			}
			return s.identity(cmd.Context(), http.MethodDelete, "/v3/users/"+id, nil, nil)
		}),
	}
}

func passwordCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "passwd [NAME|ID]", Short: "Change a password: your own, or as administrator anybody's", Args: cobra.MaximumNArgs(1),
		Long: `Change a password and end the tokens of its user. The new one is LACRE_NEW_PASSWORD, else
asked for at a terminal, else the first line of standard input. Without a name it is your own: then you must have signed in
with a password, in LACRE_PASSWORD or credentials.json, which is not changed: a data
directory whose administrator got another password needs LACRE_PASSWORD from then on.`,
		Example: `  lacre iam user passwd olga --data-dir ./data < password.txt
  LACRE_USER=olga LACRE_PASSWORD=… LACRE_NEW_PASSWORD=… lacre iam user passwd --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			password, err := s.newPassword(cmd)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return s.changeOwnPassword(cmd.Context(), password)
			}
			id, err := s.resolve(cmd.Context(), "user", args[0])
			if err != nil {
				return err
			}
			body := map[string]any{"user": map[string]any{"password": password}}
			return s.identity(cmd.Context(), http.MethodPatch, "/v3/users/"+id, body, nil)
		}),
	}
}

func (s *session) changeOwnPassword(ctx context.Context, password string) error {
	if s.target.User == "" || s.target.Password == "" {
		return hinted{usagef("your own password is asked for"), "give --user and LACRE_PASSWORD"}
	}
	id, err := s.resolve(ctx, "user", s.target.User)
	if err != nil {
		return err
	}
	body := map[string]any{"user": map[string]any{"password": password, "original_password": s.target.Password}}
	return s.identity(ctx, http.MethodPost, "/v3/users/"+id+"/password", body, nil)
}

func grantCommand(s *session) *cobra.Command {
	return s.granting("grant", "Give a user a role in a project, instead of the one there was", http.MethodPut)
}

func revokeCommand(s *session) *cobra.Command {
	return s.granting("revoke", "Take a role in a project away from a user", http.MethodDelete)
}

func (s *session) granting(use, short, method string) *cobra.Command {
	var in string
	cmd := &cobra.Command{
		Use: use + " NAME|ID ROLE", Short: short, Args: cobra.ExactArgs(2),
		Long:    short + ". Roles are admin, operator, viewer and those of\n'lacre iam role list'. It counts within a second, for tokens and keys that are there too.",
		Example: `  lacre iam user ` + use + ` olga operator --data-dir ./data --project default`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			id, err := s.resolve(cmd.Context(), "user", args[0])
			if err != nil {
				return err
			}
			projectID := s.target.Project
			if in == "" && projectID == "" {
				return hinted{usagef("no project"), "give --project, or --project-id"}
			}
			if in != "" {
				if projectID, err = s.resolve(cmd.Context(), "project", in); err != nil {
					return err
				}
			}
			return s.identity(cmd.Context(), method, "/v3/projects"+segment(projectID)+"/users/"+id+"/roles"+segment(args[1]), nil, nil)
		}),
	}
	cmd.Flags().StringVar(&in, "project", "", "name or id of the project (default: that of --project-id or --data-dir)")
	return cmd
}
