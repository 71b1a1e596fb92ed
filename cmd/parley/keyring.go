package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newKeyring() *cobra.Command {
	command := &cobra.Command{Use: "keyring", Short: "Show and change the key that gossip is encrypted with"}
	command.AddCommand(newKeyringList(), newKeyringRotate())
	return command
}

func newKeyringList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the keys by their names, and how far a change is",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ring, err := o.client().Keyring(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), ring, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "KEY\tENCRYPTS\tNODES THAT HAVE IT")
				for _, key := range ring.Keys {
					encrypts := "no"
					if key.Primary {
						encrypts = "yes"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", key.ID, encrypts, strings.Join(key.Nodes, " "))
				}
				if ring.Waits != "" {
					fmt.Fprintf(w, "\nthe change waits: %s\n", strings.ReplaceAll(ring.Waits, "\n", "; "))
				}
			})
		},
	}
	return o.flags(command)
}

func newKeyringRotate() *cobra.Command {
	var o operation
	var from string
	command := &cobra.Command{
		Use:   "rotate [--from KEY]",
		Short: "Begin a change to a new key, which goes on by itself",
		Long: "Every active node has to take part: one that does not answer holds the change up, and 'keyring list' names it. Once it has ended the\n" +
			"same again is another change; with --from, which names the key that encrypts now, it is safe to repeat.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return coded(o.client().RotateKeyring(command.Context(), from))
		},
	}
	command.Flags().StringVar(&from, "from", "", "change from this key alone, of 'keyring list'; where another encrypts already there is nothing to do")
	return o.flags(command)
}
