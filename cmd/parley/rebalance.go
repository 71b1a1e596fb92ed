package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newRebalance() *cobra.Command {
	command := &cobra.Command{
		Use:   "rebalance",
		Short: "Share replicas, slots and leads out evenly, by a plan that is shown first",
	}
	command.AddCommand(
		newRebalancePlan(), newRebalanceShow(), newRebalanceApply(),
		newRebalanceSteer(httpapi.JobPause, "Hold the rebalance or resize that runs: no more steps are begun until it is resumed"),
		newRebalanceSteer(httpapi.JobResume, "Let it go on"),
		newRebalanceSteer(httpapi.JobCancel, "End it behind the step that is under way; what has moved stays"),
	)
	return command
}

func newRebalancePlan() *cobra.Command {
	var o operation
	var steps bool
	command := &cobra.Command{
		Use:   "plan",
		Short: "Work out what would move, and show it; nothing moves",
		Long: "The plan is kept under a number for 'parley rebalance apply', which refuses it once nodes, replicas or slots are not as they were\n" +
			"when it was made.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			plan, err := o.client().MakePlan(command.Context(), httpapi.PlanRequest{})
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), plan, func(w *tabwriter.Writer) { planTable(w, plan, steps) })
		},
	}
	command.Flags().BoolVar(&steps, "steps", false, "list all steps")
	return o.flags(command)
}

func newRebalanceShow() *cobra.Command {
	var o operation
	var steps bool
	command := &cobra.Command{
		Use:   "show PLAN",
		Short: "Show a plan that is kept, and which of its steps are done",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			id, err := jobNumber(ids[0])
			if err != nil {
				return err
			}
			plan, err := o.client().Plan(command.Context(), id)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), plan, func(w *tabwriter.Writer) { planTable(w, plan, steps) })
		},
	}
	command.Flags().BoolVar(&steps, "steps", false, "list all steps")
	return o.flags(command)
}

func newRebalanceApply() *cobra.Command {
	var w waiting
	command := &cobra.Command{
		Use:   "apply PLAN",
		Short: "Carry a plan out",
		Long: "Exit code 3 where the plan does not fit any more, or another plan is being carried out. The same again waits for the same job. It\n" +
			"goes on where it was when the node that carries it out fails, and when this command is stopped.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			id, err := jobNumber(ids[0])
			if err != nil {
				return err
			}
			job, err := w.client().ApplyPlan(command.Context(), id)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	return w.flags(command)
}

// newRebalanceSteer steers the one plan that is being carried out.
func newRebalanceSteer(wish httpapi.JobWish, short string) *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   string(wish) + " [PLAN]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			if len(ids) == 1 {
				id, err := jobNumber(ids[0])
				if err != nil {
					return err
				}
				return o.steer(command, id, wish)
			}
			jobs, err := o.client().Jobs(command.Context())
			if err != nil {
				return coded(err)
			}
			for _, job := range jobs {
				if (job.Kind == "rebalance" || job.Kind == "resize") && !job.Ended() && job.State != httpapi.JobStatePlanned {
					return o.steer(command, job.ID, wish)
				}
			}
			return &codedError{exitUnsafe, fmt.Errorf("no rebalance or resize is being carried out\n  to see it    parley job list")}
		},
	}
	return o.flags(command)
}
