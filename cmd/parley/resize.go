package main

import (
	"errors"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newResize() *cobra.Command {
	var w waiting
	request := httpapi.PlanRequest{Kind: "resize"}
	var yes, steps, planOnly bool
	command := &cobra.Command{
		Use:   "resize [--nodes N] [--shards N] [--replicas N] [--leave NODE]",
		Short: "Change how many nodes, shards or replicas the cluster has, by a plan that is shown first",
		Long: "Nodes come by joining: then resize with their number spreads the cluster over them. With a smaller number the nodes leave that have\n" +
			"least, or those that --leave names: they are drained and lose all that they have, and 'parley node decommission' takes each out. The plan\n" +
			"is shown and begun after a question. Exit code 3 where what is wanted cannot be.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if request.Nodes == 0 && len(request.Leave) == 0 && request.Shards == 0 && request.Replicas == 0 {
				return &codedError{exitUsage, errors.New("say what is to change: --nodes, --leave, --shards or --replicas")}
			}
			plan, err := w.client().MakePlan(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			if planOnly || len(plan.Steps) == 0 || !w.json {
				if err := w.print(command.OutOrStdout(), plan, func(t *tabwriter.Writer) { planTable(t, plan, steps) }); err != nil {
					return err
				}
			}
			if planOnly || len(plan.Steps) == 0 {
				return nil
			}
			if !yes {
				if err := agreed(command, "Carry this plan out?"); err != nil {
					return err
				}
			}
			job, err := w.client().ApplyPlan(command.Context(), plan.ID)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().IntVar(&request.Nodes, "nodes", 0, "nodes that serve in the end (0: all that do and are not named by --leave)")
	command.Flags().StringSliceVar(&request.Leave, "leave", nil, "a node that is to have nothing in the end (repeatable)")
	command.Flags().IntVar(&request.Shards, "shards", 0, "shards in the end (0: as many as there are)")
	command.Flags().IntVar(&request.Replicas, "replicas", 0, "replicas of each shard in the end (0: as it is)")
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	command.Flags().BoolVar(&steps, "steps", false, "list all steps of the plan")
	command.Flags().BoolVar(&planOnly, "plan", false, "only show the plan; 'parley rebalance apply' carries it out")
	return w.flags(command)
}
