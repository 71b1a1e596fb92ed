package main

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newUpgrade() *cobra.Command {
	command := &cobra.Command{
		Use:   "upgrade",
		Short: "See which program each node runs, and let the cluster use what a newer one brings",
		Long: "Nodes are upgraded one after the other: stop one, replace its program, start it, wait until 'parley ready' says yes. Programs of\n" +
			"two versions work together. What is new in the log is used only when the cluster's format has been raised, by 'upgrade\n" +
			"finalize', and no node can go back to the older program then.",
	}
	command.AddCommand(newUpgradeCheck(), newUpgradeFinalize())
	return command
}

func newUpgradeCheck() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "check",
		Short: "Show the nodes' programs and formats, and what keeps the format from being raised",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := o.client().Upgrade(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), status, func(w *tabwriter.Writer) { upgradeTable(w, status) })
		},
	}
	return o.flags(command)
}

func newUpgradeFinalize() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "finalize",
		Short: "Raise the cluster's format to the newest that every node knows; safe to repeat",
		Long: "From then on no node can run the program before. It is refused, with exit code 3, while a node is away or runs an older program:\n" +
			"such a node would stop when it comes to what it cannot read.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := o.client().FinalizeUpgrade(command.Context())
			if err != nil {
				return coded(err)
			}
			if status.Possible > status.Format {
				return &codedError{exitStillRuns, errors.New("the format is being raised, and not everywhere yet: 'parley upgrade check'")}
			}
			return o.print(command.OutOrStdout(), status, func(w *tabwriter.Writer) { upgradeTable(w, status) })
		},
	}
	return o.flags(command)
}

func upgradeTable(w *tabwriter.Writer, s httpapi.UpgradeStatus) {
	fmt.Fprintln(w, "NODE\tPROGRAM\tKNOWS FORMATS UP TO")
	for _, n := range s.Nodes {
		knows := "does not say"
		switch {
		case n.Error != "":
			knows = "does not answer"
		case n.Knows > 0:
			knows = fmt.Sprint(n.Knows)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", n.Node, cmp.Or(n.Version, "?"), knows)
	}
	fmt.Fprintf(w, "\nthe cluster is of format %d", s.Format)
	switch {
	case len(s.Blockers) > 0:
		fmt.Fprintln(w, "; it cannot be raised now:")
		for _, b := range s.Blockers {
			fmt.Fprintf(w, "  %s\n", b)
		}
	case s.Possible > s.Format:
		fmt.Fprintf(w, "; 'parley upgrade finalize' raises it to %d\n", s.Possible)
	default:
		fmt.Fprintln(w, ", the newest that every node knows")
	}
}
