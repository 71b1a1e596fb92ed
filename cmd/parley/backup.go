package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
	"parley/ops/backup"
)

func newBackup() *cobra.Command {
	command := &cobra.Command{
		Use:   "backup",
		Short: "Back the cluster up, look at backups, check them, restore one",
		Long: "A backup lies in a directory (file:///DIRECTORY) or in a bucket of an S3-compatible store (s3://BUCKET/PREFIX, with\n" +
			"?endpoint=https://HOST&region=REGION where it is not AWS; the credentials are those of the machine: AWS_ACCESS_KEY_ID and\n" +
			"AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or its role). A second backup into the same place writes only what has changed.",
	}
	command.AddCommand(newBackupCreate(), newBackupList(), newBackupInspect(), newBackupVerify(), newBackupPrune(), newBackupRestore())
	return command
}

func newBackupCreate() *cobra.Command {
	var w waiting
	var request httpapi.BackupRequest
	var rate uint64
	var within time.Duration
	command := &cobra.Command{
		Use:   "create URL",
		Short: "Back the cluster up while it runs",
		Long: "Each shard is read as of one moment, from a follower where it has one, and written in chunks; what the store has already is not\n" +
			"written again. A directory is one of the node that is asked; a bucket is written to by whichever node leads. It is a job:\n" +
			"it goes on when a node is killed, and 'parley job' shows it. The same again while it goes on is the same backup; when it is done it is\n" +
			"another one, unless --unless-within says otherwise.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			request.Location, request.BytesPerSecond, request.UnlessWithinSeconds = arguments[0], rate<<20, uint64(max(0, within)/time.Second)
			job, err := w.client().CreateBackup(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().Uint64Var(&rate, "rate", 0, "MiB a second to read of the cluster at most (0: as fast as it goes)")
	command.Flags().DurationVar(&within, "unless-within", 0, "not if a backup into the same place was begun within this time, and goes on or is done: that is the one")
	return w.flags(command)
}

// stored is what commands have in common that open a store themselves, and ask no node.
type stored struct{ operation }

func (s *stored) flags(command *cobra.Command) *cobra.Command {
	command.Flags().BoolVar(&s.json, "json", false, "print JSON")
	return command
}

// open opens the store of a command line, and finds out which backup is meant: the newest where none is named.
func (s *stored) open(ctx context.Context, arguments []string) (store backup.Store, id string, err error) {
	if store, err = backup.OpenThere(arguments[0]); err != nil {
		return nil, "", &codedError{exitUsage, err}
	}
	if len(arguments) > 1 {
		return store, arguments[1], nil
	}
	id, err = backup.Newest(ctx, store)
	return store, id, err
}

func newBackupList() *cobra.Command {
	var s stored
	return s.flags(&cobra.Command{
		Use:   "list URL",
		Short: "List the backups of a store, the oldest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			store, err := backup.OpenThere(arguments[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			entries, err := backup.List(command.Context(), store)
			if err != nil {
				return err
			}
			return s.print(command.OutOrStdout(), append([]backup.Entry{}, entries...), func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "BACKUP\tCLUSTER\tGENERATION\tENDED\tRECORDS\tBYTES\tSTATE")
				for _, e := range entries {
					if e.Fault != "" {
						fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t%s\n", e.ID, e.Fault)
						continue
					}
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\tfinished\n", e.ID, e.Cluster, e.Generation, e.EndedAt.Format(time.RFC3339), e.Records, mebibytes(e.Bytes))
				}
			})
		},
	})
}

func newBackupInspect() *cobra.Command {
	var s stored
	return s.flags(&cobra.Command{
		Use:   "inspect URL [BACKUP]",
		Short: "Show what a backup has: of which state each shard is, and how much of what",
		Long:  "Without a name it is the newest. Nothing of the data is read; 'parley backup verify' does that.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(command *cobra.Command, arguments []string) error {
			store, id, err := s.open(command.Context(), arguments)
			if err != nil {
				return err
			}
			found, err := backup.Inspect(command.Context(), store, id)
			if err != nil {
				return err
			}
			return s.print(command.OutOrStdout(), found, func(w *tabwriter.Writer) { inspectionTable(w, found) })
		},
	})
}

func inspectionTable(w *tabwriter.Writer, found backup.Inspection) {
	fmt.Fprintf(w, "backup %s of cluster %s, generation %d, format %d\n", found.ID, found.Cluster, found.Generation, found.Format)
	fmt.Fprintf(w, "from %s to %s, by %s\n\n", found.BeganAt.Format(time.RFC3339), found.EndedAt.Format(time.RFC3339), found.Program)
	fmt.Fprintln(w, "GROUP\tINDEX\tHUB TIME\tSLOTS\tRECORDS\tBYTES\tCHUNKS\tSOURCE")
	for _, p := range found.Parts {
		name, at := fmt.Sprintf("shard %d", p.Group), time.UnixMilli(int64(p.HubMillis)).UTC().Format(time.RFC3339)
		if p.Group == 0 {
			name, at = "map", "-"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%s\t%d\t%s\n", name, p.Index, at, len(p.Slots), p.Sum.Records, mebibytes(p.Sum.Bytes), len(p.Chunks), p.Source)
	}
	fmt.Fprintln(w)
	countsTable(w, found.Counts)
}

func countsTable(w *tabwriter.Writer, counts backup.Counts) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "%s\t%d\n", name, counts[name])
	}
}

func newBackupVerify() *cobra.Command {
	var s stored
	return s.flags(&cobra.Command{
		Use:   "verify URL [BACKUP]",
		Short: "Read all of a backup, and say what is not as it was written",
		Long: "Without a name it is the newest. Each chunk is read and held against its name, each slot and shard against its digest. No\n" +
			"cluster is needed. Exit code 1 where something is missing, cut short or altered.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(command *cobra.Command, arguments []string) error {
			store, id, err := s.open(command.Context(), arguments)
			if err != nil {
				return err
			}
			watch := newProgressLine(command.ErrOrStderr())
			report, err := backup.Verify(command.Context(), store, id, watch)
			watch.close()
			if err != nil {
				return err
			}
			err = s.print(command.OutOrStdout(), report, func(w *tabwriter.Writer) {
				for _, problem := range report.Problems {
					fmt.Fprintln(w, problem)
				}
				if report.Whole() {
					fmt.Fprintf(w, "backup %s is whole: %d chunks, %d records, %s (%s stored)\n", report.ID, report.Chunks, report.Records, mebibytes(report.Bytes), mebibytes(report.Stored))
					countsTable(w, report.Counts)
				}
			})
			if err == nil && !report.Whole() {
				err = fmt.Errorf("backup %s is damaged", id)
			}
			return err
		},
	})
}

func newBackupPrune() *cobra.Command {
	var s stored
	var keep int
	command := &cobra.Command{
		Use:   "prune URL --keep N",
		Short: "Remove old backups, and what only they have",
		Long:  "It must not run while a backup goes into the same place: that may count on what is removed.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			store, err := backup.OpenThere(arguments[0])
			if err != nil || keep < 1 {
				return &codedError{exitUsage, cmp.Or(err, errors.New("--keep: at least one backup has to be kept"))}
			}
			pruned, err := backup.Prune(command.Context(), store, keep)
			if err != nil {
				return err
			}
			return s.print(command.OutOrStdout(), pruned, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "removed %s\n%d chunks, %s\n", cmp.Or(strings.Join(pruned.Backups, ", "), "no backup"), pruned.Chunks, mebibytes(uint64(pruned.Bytes)))
			})
		},
	}
	command.Flags().IntVar(&keep, "keep", 0, "how many of the newest are kept")
	return required(s.flags(command), "keep")
}

func newBackupRestore() *cobra.Command {
	var o operation
	var request httpapi.RestoreRequest
	command := &cobra.Command{
		Use:   "restore URL [BACKUP]",
		Short: "Make a new cluster of a backup, with this node as its first",
		Long: "The node must be a new one, with an empty data directory and the seal key of the lost cluster. All of the backup is read\n" +
			"first; one that is damaged is refused before anything is made of it. The cluster keeps its ID, settings, peers and hub\n" +
			"keys, and may have other shards and nodes than the lost one. It is in a new generation: nodes of the lost cluster have no\n" +
			"part in it and must not run any more, tokens are void, rooms are stale until a member has brought them forward, and\n" +
			"KeyPackages that may have been handed out are not given out again. What shards had comes by a job, once there are nodes\n" +
			"for all replicas. The same command again goes on where an earlier one was cut off.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(command *cobra.Command, arguments []string) error {
			request.Location = arguments[0]
			if len(arguments) > 1 {
				request.Backup = arguments[1]
			}
			status, err := beginRestore(command.Context(), &o, request, newProgressLine(command.ErrOrStderr()))
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), status, func(w *tabwriter.Writer) { restoreTable(w, status) })
		},
	}
	command.Flags().StringVar(&request.Node, "id", "n1", "this node's ID, for ever; a node with configured credentials has the one in them")
	command.Flags().IntVar(&request.Shards, "shards", 6, "Raft groups that share the rooms and users")
	command.Flags().IntVar(&request.Replicas, "replicas", 3, "replicas of each shard")
	return o.flags(command)
}

// beginRestore asks until the cluster is there.
func beginRestore(ctx context.Context, o *operation, request httpapi.RestoreRequest, watch *progressLine) (httpapi.RestoreStatus, error) {
	defer watch.close()
	for {
		status, err := o.client().RestoreCluster(ctx, request)
		if err != nil || status.State == httpapi.RestoreBegun {
			return status, err
		}
		watch.Step(status.Text)
		watch.Bytes(status.BytesDone, status.BytesTotal)
		select {
		case <-ctx.Done():
			return status, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func restoreTable(w *tabwriter.Writer, s httpapi.RestoreStatus) {
	fmt.Fprintf(w, "cluster %s is begun of backup %s, in generation %d, with node %s\n\n", s.ClusterID, s.Backup, s.Generation, s.Node)
	fmt.Fprintln(w, "next")
	fmt.Fprintln(w, "  further nodes\tparley node invite, and parley node join --token on each: the shards are placed when there are enough")
	fmt.Fprintln(w, "  what shards had\tcomes by the job 'restore' then: parley job list, parley job wait")
	fmt.Fprintln(w, "  tokens are void\tparley token create for the backend and for clients")
	fmt.Fprintln(w, "  rooms are stale\tuntil a member has brought each forward; the backend finds them in its inbox")
	fmt.Fprintln(w, "  KeyPackages\tthat were not last-resort ones are not given out again: clients have to upload new ones; their owners are told")
	fmt.Fprintln(w, "  joining codes\tand leases are void")
	fmt.Fprintln(w, "  the lost cluster\tmust not run any more: what its nodes decide from now on is another history")
}
