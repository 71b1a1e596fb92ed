package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/cluster"
	"parley/storage"
)

func newFsck() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "fsck DATA_DIR",
		Short: "Read everything in the directory of a node that does not run, and say what is wrong; changes nothing",
		Long: "Every record of every log is read by its checksum, the indexes are compared, votes and snapshots looked for, each shard's state read\n" +
			"and held to what must be true of any, the journal read, and the marks explained. Exit code 1 where something is wrong, 3\n" +
			"where the node runs. What is damaged a node rebuilds from the others by itself when it starts.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			report, err := cluster.Fsck(command.Context(), names[0], func(step string) { fmt.Fprintln(command.ErrOrStderr(), step) })
			if errors.Is(err, storage.ErrLocked) {
				return &codedError{exitUnsafe, fmt.Errorf("%w\n  in the way   the node runs\n  to see it    parley ready\n  to clear it  stop the node; while it runs, 'parley check' compares its replicas with the others", err)}
			}
			if err != nil {
				return err
			}
			if err := o.print(command.OutOrStdout(), report, func(w *tabwriter.Writer) { fsckTable(w, report) }); err != nil {
				return err
			}
			if len(report.Findings) > 0 {
				return errSaid
			}
			return nil
		},
	}
	return o.jsonFlag(command)
}

func fsckTable(w *tabwriter.Writer, r cluster.FsckReport) {
	fmt.Fprintf(w, "node %s of cluster %s, %d held submissions\n\n", orNone(r.NodeID), orNone(r.ClusterID), r.Held)
	fmt.Fprintln(w, "GROUP\tFORMAT\tLOG\tAPPLIED\tSNAPSHOT\tRECORDS\tBYTES\tMARKS")
	for _, g := range r.Groups {
		var marks []string
		if g.Quarantined != "" {
			marks = append(marks, "QUARANTINED")
		}
		if g.Rebuilding {
			marks = append(marks, "REBUILDING")
		}
		fmt.Fprintf(w, "%d\t%d\t%d-%d\t%d\t%d\t%d\t%d\t%s\n", g.Group, g.Format, g.FirstLog, g.LastLog, g.Applied, g.Snapshot, g.Records, g.Bytes, strings.Join(marks, " "))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "\nnote: %s", note)
	}
	for _, finding := range r.Findings {
		fmt.Fprintf(w, "\nWRONG: %s", finding)
	}
	if len(r.Findings) == 0 {
		fmt.Fprint(w, "\nnothing is wrong")
	}
	fmt.Fprintln(w)
}
