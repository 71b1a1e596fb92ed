package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/config"
)

func newConfig() *cobra.Command {
	command := &cobra.Command{Use: "config", Short: "Look at a node's configuration before it is used"}
	command.AddCommand(newConfigValidate())
	return command
}

// configVerdict is what `parley config validate` prints.
type configVerdict struct {
	File   string   `json:"file"`
	Valid  bool     `json:"valid"`
	Errors []string `json:"errors"`
}

func newConfigValidate() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "validate FILE",
		Short: "Say everything that is wrong with a configuration, by its keys; exit code 1 where something is",
		Long: "The environment counts as it does for 'parley serve'. Files that are named are looked into: keys, certificates and whether they\n" +
			"fit together and are valid now. seal_key_command is run. No socket is opened.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			verdict := configVerdict{File: names[0], Errors: []string{}}
			c, err := config.Load(names[0])
			if err == nil {
				err = c.Examine(command.Context(), time.Now())
			}
			if verdict.Valid = err == nil; err != nil {
				verdict.Errors = strings.Split(strings.TrimPrefix(err.Error(), "configuration "+names[0]+": "), "\n")
			}
			err = o.print(command.OutOrStdout(), verdict, func(w *tabwriter.Writer) {
				for _, wrong := range verdict.Errors {
					fmt.Fprintln(w, wrong)
				}
				if verdict.Valid {
					fmt.Fprintf(w, "%s is valid\n", verdict.File)
				}
			})
			if err == nil && !verdict.Valid {
				return errSaid
			}
			return err
		},
	}
	return o.jsonFlag(command)
}
