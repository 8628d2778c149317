package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

func createProjectCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Make a project, for the cloud's clients a region", Args: cobra.ExactArgs(1),
		Long:    "Make a project, for the cloud's clients a region. It starts with an instance called default.",
		Example: `  lacre iam project create cn-north-4 --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			return changed[project](cmd, s, http.MethodPost, "/v3/projects", "project", projectHeader, map[string]any{"name": args[0]})
		}),
	}
}

func listProjectsCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List projects: yours, or as administrator those of the account", Args: cobra.NoArgs,
		Example: `  lacre iam project list --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			raw, err := s.identities(cmd.Context(), "/v3/projects", "projects")
			if err != nil {
				return err
			}
			return printList[project](cmd, s, raw, projectHeader)
		}),
	}
}

func createRoleCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "create NAME PERMISSION...", Short: "Make a role of permissions", Args: cobra.MinimumNArgs(2),
		Long: `Make a role of permissions, such as apig:certificate:update; 'lacre iam role list' shows
them all as those of the role admin. A role does not change: make another and grant that.`,
		Example: `  lacre iam role create renewer apig:certificate:list apig:certificate:get apig:certificate:update --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[0], "permissions": args[1:]}
			return changed[role](cmd, s, http.MethodPost, "/v3/roles", "role", roleHeader, body)
		}),
	}
}

func listRolesCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the roles that can be granted", Args: cobra.NoArgs,
		Example: `  lacre iam role list --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			raw, err := s.identities(cmd.Context(), "/v3/roles", "roles")
			if err != nil {
				return err
			}
			return printList[role](cmd, s, raw, roleHeader)
		}),
	}
}

func deleteRoleCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a role that nobody has", Args: cobra.ExactArgs(1),
		Example: `  lacre iam role delete renewer --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			return s.identity(cmd.Context(), http.MethodDelete, "/v3/roles"+segment(args[0]), nil, nil)
		}),
	}
}
