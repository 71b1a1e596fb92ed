package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newDoctor() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the cluster, and say what to do about it",
		Long: "Every node looks at itself: clock, disk and its reserve, time of a durable write, limit of open files, certificates, seal key, gossip\n" +
			"and calls in both directions, peers' directories, replicas and quorums, versions. It makes a few small writes and one\n" +
			"request to each peer, and changes nothing. Exit code 1 where there is a problem; advice alone is no problem.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			diagnosis, err := o.client().Doctor(command.Context())
			if err != nil {
				return coded(err)
			}
			err = o.print(command.OutOrStdout(), diagnosis, func(w *tabwriter.Writer) { diagnosisText(w, diagnosis) })
			if err == nil && slices.ContainsFunc(diagnosis.Findings, func(f httpapi.Finding) bool { return f.Level == "problem" }) {
				return errSaid
			}
			return err
		},
	}
	return o.flags(command)
}

func diagnosisText(w *tabwriter.Writer, d httpapi.Diagnosis) {
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%s: %s\n  %s\n  %s\n\n", f.Level, f.Subject, f.Text, f.ToDo)
	}
	if len(d.Findings) == 0 {
		fmt.Fprintf(w, "%d nodes looked at, nothing found\n", d.Nodes)
	}
}

func newReady() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "ready",
		Short: "Ask whether a node can serve, as a probe does; exit code 1 where not",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			readiness, err := o.client().Ready(command.Context())
			if err != nil {
				return coded(err)
			}
			err = o.print(command.OutOrStdout(), readiness, func(w *tabwriter.Writer) {
				if readiness.Ready {
					fmt.Fprintf(w, "node %s is ready, with %d replicas\n", readiness.Node, readiness.Running)
				}
				for _, reason := range readiness.Reasons {
					fmt.Fprintln(w, reason)
				}
			})
			if err == nil && !readiness.Ready {
				return errSaid
			}
			return err
		},
	}
	return o.flags(command)
}
