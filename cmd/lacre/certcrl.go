package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"lacre/layout"
)

// revocations are what the commands show of the API's answer about revocation lists.
type revocations struct {
	Lists []heldList `json:"crls"`
}

// crlCommand groups the commands over the revocation lists of a certificate.
func crlCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use: "crl", Short: "Upload, show and delete the revocation lists of a certificate's trust roots", Args: cobra.NoArgs,
		Example: `  lacre cert crl set web_cert --data-dir ./data --crl clients.crl
  lacre cert crl show web_cert --data-dir ./data`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(crlSetCommand(s), crlShowCommand(s), crlDeleteCommand(s))
	return cmd
}

func crlSetCommand(s *session) *cobra.Command {
	var file string
	check := func() error {
		if file == "" {
			return usagef("--crl is mandatory")
		}
		return nil
	}
	cmd := &cobra.Command{
		Use: "set ID|NAME", Short: "Upload revocation lists; they are in force when the command returns", Args: cobra.ExactArgs(1),
		Example: `  lacre cert crl set web_cert --data-dir ./data --crl clients.crl`,
		RunE: s.with(check, func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return s.crl(cmd, http.MethodPut, args[0], map[string]string{"crl": layout.ListText(text)})
		}),
	}
	cmd.Flags().StringVar(&file, "crl", "", "file with revocation lists in PEM, or one in DER (mandatory)")
	return cmd
}

func crlShowCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "show ID|NAME", Short: "Show the revocation lists", Args: cobra.ExactArgs(1),
		Example: `  lacre cert crl show web_cert --data-dir ./data -o json`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			return s.crl(cmd, http.MethodGet, args[0], nil)
		}),
	}
}

func crlDeleteCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID|NAME", Short: "Forget the revocation lists: nobody is revoked any more", Args: cobra.ExactArgs(1),
		Example: `  lacre cert crl delete web_cert --data-dir ./data`,
		RunE: s.with(nil, func(cmd *cobra.Command, args []string) error {
			c, err := s.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.call(cmd.Context(), http.MethodDelete, "/certificates/"+c.ID+"/crl", nil, nil)
		}),
	}
}

// crl calls the API about the lists of a certificate and prints its answer.
func (s *session) crl(cmd *cobra.Command, method, which string, body any) error {
	c, err := s.find(cmd.Context(), which)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := s.call(cmd.Context(), method, "/certificates/"+c.ID+"/crl", body, &raw); err != nil {
		return err
	}
	r, err := decode[revocations](raw)
	if err != nil {
		return err
	}
	return s.print(cmd, raw, listHeader, rowsOf(r.Lists)...)
}

// heldList is a revocation list that the API has.
type heldList struct {
	Issuer     string `json:"issuer"`
	Number     string `json:"crl_number"`
	ThisUpdate string `json:"this_update"`
	NextUpdate string `json:"next_update"`
	Entries    int    `json:"entries"`
	InForce    bool   `json:"in_force"`
}

const listHeader = "ISSUER\tNUMBER\tREVOKED\tTHIS UPDATE\tNEXT UPDATE\tIN FORCE"

func (l heldList) row() []string {
	return []string{l.Issuer, l.Number, fmt.Sprint(l.Entries), l.ThisUpdate, l.NextUpdate, fmt.Sprint(l.InForce)}
}
