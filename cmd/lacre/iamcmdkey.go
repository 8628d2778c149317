package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const credentialsPath = "/v3.0/OS-CREDENTIAL/credentials"

func createKeyCommand(s *session) *cobra.Command {
	var owner, description string
	cmd := &cobra.Command{
		Use: "create", Short: "Make an access key and show its secret, this once", Args: cobra.NoArgs,
		Long: `Make an access key: what the cloud's SDKs, Terraform and koocli sign requests with. The
secret is shown now and never again; it is kept sealed. A user has at most 10 keys.`,
		Example: `  lacre iam key create --data-dir ./data --description "laptop"
  lacre iam key create --data-dir ./data --for olga -o json > olga-key.json`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"description": description}
			if owner != "" {
				id, err := s.resolve(cmd.Context(), "user", owner)
				if err != nil {
					return err
				}
				body["user_id"] = id
			}
			return s.makeKey(cmd, body)
		}),
	}
	cmd.Flags().StringVar(&owner, "for", "", "name or id of the user (default: yourself)")
	cmd.Flags().StringVar(&description, "description", "", "what the key is for")
	return cmd
}

func (s *session) makeKey(cmd *cobra.Command, body map[string]any) error {
	var answer struct {
		Credential json.RawMessage `json:"credential"`
	}
	if err := s.identity(cmd.Context(), http.MethodPost, credentialsPath, map[string]any{"credential": body}, &answer); err != nil {
		return err
	}
	k, err := decode[accessKey](answer.Credential)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "The secret key is shown this once.")
	return s.print(cmd, answer.Credential, "ACCESS KEY\tSECRET KEY", []string{k.Access, k.Secret})
}

func listKeysCommand(s *session) *cobra.Command {
	var owner string
	cmd := &cobra.Command{
		Use: "list", Short: "List access keys, without their secrets", Args: cobra.NoArgs,
		Example: `  lacre iam key list --data-dir ./data --for olga`,
		RunE: s.with(nil, func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if owner != "" {
				id, err := s.resolve(cmd.Context(), "user", owner)
				if err != nil {
					return err
				}
				query.Set("user_id", id)
			}
			raw, err := s.identities(cmd.Context(), credentialsPath+"?"+query.Encode(), "credentials")
			if err != nil {
				return err
			}
			return printList[accessKey](cmd, s, raw, keyHeader)
		}),
	}
	cmd.Flags().StringVar(&owner, "for", "", "name or id of the user (default: yourself)")
	return cmd
}

func switchKeyCommand(s *session, use, status string) *cobra.Command {
	short := "Switch an access key off, within a second"
	if status == "active" {
		short = "Switch an access key on again"
	}
	return &cobra.Command{
		Use: use + " ACCESS-KEY", Short: short, Args: cobra.ExactArgs(1),
		Example: `  lacre iam key ` + use + ` ABCDEFGHIJKLMNOPQRST --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			return changed[accessKey](cmd, s, http.MethodPut, credentialsPath+segment(args[0]), "credential", keyHeader, map[string]any{"status": status})
		}),
	}
}

func deleteKeyCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "delete ACCESS-KEY", Short: "Delete an access key for good", Args: cobra.ExactArgs(1),
		Example: `  lacre iam key delete ABCDEFGHIJKLMNOPQRST --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			return s.identity(cmd.Context(), http.MethodDelete, credentialsPath+segment(args[0]), nil, nil)
		}),
	}
}
