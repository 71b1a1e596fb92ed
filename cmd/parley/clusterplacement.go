package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newClusterPlacement() *cobra.Command {
	command := &cobra.Command{Use: "placement", Short: "How replicas are placed: see it, change it, pause it"}
	command.AddCommand(newPlacementShow(), newPlacementSet(), newPlacementPause("pause", true), newPlacementPause("resume", false))
	return command
}

func newPlacementShow() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "show",
		Short: "Show the rules by which replicas are placed, and what is under way",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			placement, err := o.client().Placement(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), placement, func(w *tabwriter.Writer) { placementTable(w, placement) })
		},
	}
	return o.flags(command)
}

func placementTable(w *tabwriter.Writer, p httpapi.PlacementEntry) {
	state, after, rate := "goes on", "never", "as each node is configured"
	if p.Paused {
		state = "paused"
	}
	if p.ReplaceAfterSeconds > 0 {
		after = "after " + (time.Duration(p.ReplaceAfterSeconds) * time.Second).String() + " of silence"
	}
	if p.BytesPerSecond > 0 {
		rate = fmt.Sprintf("%d bytes a second and node", p.BytesPerSecond)
	}
	fmt.Fprintf(w, "placement\t%s\nreplicas of a shard\t%d\nreplicas of a node are replaced\t%s\nmoves\t%s\n", state, p.Replicas, after, rate)
	if p.By != "" || p.Why != "" {
		fmt.Fprintf(w, "last changed\t%s by %s: %s\n", p.Since.Format(time.RFC3339), orNone(p.By), p.Why)
	}
	for _, m := range p.Moves {
		fmt.Fprintf(w, "shard %d\tfrom %s to %s\n", m.Shard, m.From, m.To)
	}
}

func newPlacementSet() *cobra.Command {
	var o operation
	var change httpapi.PlacementChange
	var after time.Duration
	var rate uint64
	var replicas uint32
	command := &cobra.Command{
		Use:   "set [--replicas N] [--replace-after DURATION] [--bytes-per-second N]",
		Short: "Change the rules by which replicas are placed",
		Long: "Where more replicas are wanted they come by themselves, where fewer are, the surplus goes. To see a plan first, use\n" +
			"'parley resize --replicas'.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			flags := command.Flags()
			if flags.Changed("replicas") {
				change.Replicas = &replicas
			}
			if flags.Changed("replace-after") {
				if after < 0 {
					return &codedError{exitUsage, errors.New("--replace-after is negative")}
				}
				seconds := uint64(after / time.Second)
				change.ReplaceAfterSeconds = &seconds
			}
			if flags.Changed("bytes-per-second") {
				change.BytesPerSecond = &rate
			}
			if change.Replicas == nil && change.ReplaceAfterSeconds == nil && change.BytesPerSecond == nil {
				return &codedError{exitUsage, errors.New("say what is to change: --replicas, --replace-after or --bytes-per-second")}
			}
			placement, err := o.client().ChangePlacement(command.Context(), change)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), placement, func(w *tabwriter.Writer) { placementTable(w, placement) })
		},
	}
	command.Flags().Uint32Var(&replicas, "replicas", 0, "replicas of each shard, 1 to 7")
	command.Flags().DurationVar(&after, "replace-after", 0, "a node's silence after which its replicas are replaced, 30s at least; 0: never")
	command.Flags().Uint64Var(&rate, "bytes-per-second", 0, "what each node sends for moves, at most; 0: as it is configured")
	command.Flags().StringVar(&change.Why, "why", "", "why, for whoever looks later")
	return o.flags(command)
}

func newPlacementPause(verb string, paused bool) *cobra.Command {
	var o operation
	change := httpapi.PlacementChange{Paused: &paused}
	short := "Let replicas move and be replaced again; safe to repeat"
	if paused {
		short = "Begin no more moves or replacements; what is under way in a shard's group is ended; safe to repeat"
	}
	command := &cobra.Command{
		Use:   verb,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			placement, err := o.client().ChangePlacement(command.Context(), change)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), placement, func(w *tabwriter.Writer) { placementTable(w, placement) })
		},
	}
	command.Flags().StringVar(&change.Why, "why", "", "why, for whoever looks later")
	return o.flags(command)
}
