package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/fsm/meta"
	"parley/httpapi"
)

func newToken() *cobra.Command {
	command := &cobra.Command{Use: "token", Short: "Make and revoke bearer tokens of the local listener"}
	command.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke())
	return command
}

func newTokenCreate() *cobra.Command {
	var o operation
	var request httpapi.TokenRequest
	var names []string
	for _, scope := range meta.Scopes() {
		names = append(names, scope.String())
	}
	command := &cobra.Command{
		Use:   "create --name NAME --scope SCOPE",
		Short: "Make a token; its secret is shown this once",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			token, err := o.client().CreateToken(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), token, func(w *tabwriter.Writer) { fmt.Fprintln(w, token.Secret) })
		},
	}
	command.Flags().StringVar(&request.Name, "name", "", "for whom it is")
	command.Flags().StringSliceVar(&request.Scopes, "scope", nil, "what it may do (repeatable): "+strings.Join(names, ", "))
	return required(o.flags(command), "name", "scope")
}

func newTokenList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			tokens, err := o.client().Tokens(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), tokens, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "ID\tNAME\tSCOPES")
				for _, t := range tokens {
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, " "))
				}
			})
		},
	}
	return o.flags(command)
}

func newTokenRevoke() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			return coded(o.client().RevokeToken(command.Context(), names[0]))
		},
	}
	return o.flags(command)
}
