package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parley/cmd/parley/settings"
	"parley/httpapi"
)

func newClusterSettings() *cobra.Command {
	command := &cobra.Command{Use: "settings", Short: "Show and change the limits of a cluster that runs"}
	command.AddCommand(newSettingsShow(), newSettingsSet())
	return command
}

func newSettingsShow() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "show",
		Short: "Show every limit, its default, and what it means",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			in, err := o.client().Settings(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), in, func(w *tabwriter.Writer) { settingsTable(w, in) })
		},
	}
	return o.flags(command)
}

func settingsTable(w *tabwriter.Writer, in httpapi.ClusterSettings) {
	fmt.Fprintf(w, "version %d\n\n", in.Version)
	fmt.Fprintln(w, "SETTING\tVALUE\tDEFAULT\tMEANING")
	for _, s := range in.Settings {
		fallback := "(it is)"
		if s.Changed {
			fallback = orEmpty(s.Default)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, orEmpty(s.Value), fallback, s.Meaning)
	}
}

// orEmpty keeps a column of a table from having nothing in it.
func orEmpty(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

func newSettingsSet() *cobra.Command {
	var o operation
	var change httpapi.SettingsChange
	command := &cobra.Command{
		Use:   "set --NAME VALUE...",
		Short: "Change limits, all that are named or none",
		Long: "What is not named stays as it is, also where somebody else changes it at the same moment. The value \"default\" brings a limit\n" +
			"back to its default. A change is in force in every shard within seconds. Lengths of time are such as 90s, 12h and 30d.",
		Args: func(_ *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("%q is no flag: a setting is named as one, --lease-default 15s", words[0])
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error {
			change.Set = make(map[string]string)
			command.Flags().Visit(func(f *pflag.Flag) {
				if _, is := settings.Find(f.Name); is {
					change.Set[f.Name] = f.Value.String()
				}
			})
			if len(change.Set) == 0 {
				return &codedError{exitUsage, errors.New("name a setting to change; parley cluster settings show lists them")}
			}
			in, err := o.client().ChangeSettings(command.Context(), change)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), in, func(w *tabwriter.Writer) { settingsTable(w, in) })
		},
	}
	for _, s := range settings.All() {
		command.Flags().String(s.Name, "", s.Meaning)
	}
	command.Flags().Uint64Var(&change.Version, "if-version", 0, "change nothing unless the settings are of this version; 0: any")
	return o.flags(command)
}
