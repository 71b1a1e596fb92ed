package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/fsm"
	"parley/httpapi"
)

func newShard() *cobra.Command {
	command := &cobra.Command{Use: "shard", Short: "Look at shards, and move them"}
	command.AddCommand(newShardList(), newShardMove(), newShardTransferLeader())
	command.AddCommand(shardSlotVerbs()...)
	return command
}

// shardNumber reads the first argument.
func shardNumber(arguments []string) (fsm.ShardID, error) {
	number, err := strconv.ParseUint(arguments[0], 10, 32)
	if err != nil || number == 0 {
		return 0, &codedError{exitUsage, fmt.Errorf("%q is no shard's number", arguments[0])}
	}
	return fsm.ShardID(number), nil
}

func newShardList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the shards with their leaders and replicas",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := o.client().Status(command.Context())
			if err != nil {
				return coded(err)
			}
			placement, err := o.client().Placement(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), status.Shards, func(w *tabwriter.Writer) { shardTable(w, status.Shards, placement.Moves) })
		},
	}
	return o.flags(command)
}

func shardTable(w *tabwriter.Writer, shards []httpapi.ShardStatus, moves []httpapi.ReplicaMove) {
	fmt.Fprintln(w, "SHARD\tSTATE\tLEADER\tTERM\tREPLICAS\tMOVES")
	for _, s := range shards {
		var replicas []string
		for _, r := range s.Replicas {
			replicas = append(replicas, r.Node+replicaMark(r))
		}
		moving := ""
		for _, m := range moves {
			if m.Shard == s.ID {
				moving = m.From + " to " + m.To
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", s.ID, s.State, orNone(s.Leader), s.Term, strings.Join(replicas, " "), moving)
	}
}

// replicaMark says of a replica what is not as it should be.
func replicaMark(r httpapi.ReplicaStatus) string {
	switch {
	case r.Reason != "":
		return ":held"
	case !r.Running:
		return ":down"
	case r.Fetching != nil && r.Fetching.TotalBytes > 0:
		return fmt.Sprintf(":fetches %d%%", 100*r.Fetching.HereBytes/r.Fetching.TotalBytes)
	case r.Rebuilding, !r.Voter:
		return ":comes"
	default:
		return ""
	}
}

func newShardMove() *cobra.Command {
	var w waiting
	var request httpapi.ReplicaMoveRequest
	command := &cobra.Command{
		Use:   "move SHARD --from NODE --to NODE",
		Short: "Move a replica of a shard from one node to another",
		Long: "The new replica comes first, gets the state and a vote, and only then the old one goes, with its data. The shard serves throughout.\n" +
			"'parley job cancel' takes the new one out again.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			shard, err := shardNumber(arguments)
			if err != nil {
				return err
			}
			job, err := w.client().MoveReplica(command.Context(), shard, request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().StringVar(&request.From, "from", "", "the node that has it")
	command.Flags().StringVar(&request.To, "to", "", "the node that is to have it")
	return required(required(w.flags(command), "from"), "to")
}

func newShardTransferLeader() *cobra.Command {
	var o operation
	var to string
	command := &cobra.Command{
		Use:   "transfer-leader SHARD [--to NODE]",
		Short: "Have another replica of a shard lead it",
		Long:  "It takes about 10 ms. Leads are shared out evenly by themselves after a while; to keep a node from leading, drain it.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			shard, err := shardNumber(arguments)
			if err != nil {
				return err
			}
			return coded(o.client().TransferLeadership(command.Context(), shard, to))
		},
	}
	command.Flags().StringVar(&to, "to", "", "the node that is to lead; empty: whichever has most of the log")
	return o.flags(command)
}
