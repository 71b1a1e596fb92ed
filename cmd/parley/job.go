package main

import (
	"cmp"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newJob() *cobra.Command {
	command := &cobra.Command{
		Use:   "job",
		Short: "See the long actions of the cluster, wait for them, end them",
		Long: "A long action is a job in the replicated state: it goes on also when the node that carries it out, or whoever asked for it,\n" +
			"is gone, and asking again for what runs already is the same job. The last 256 are kept.",
	}
	command.AddCommand(
		newJobList(), newJobShow(), newJobWait(),
		newJobSteer(httpapi.JobCancel, "End a job: what it has begun is brought to an end, and no more is begun",
			"What the job has done stays, unless its kind says otherwise. The command returns when the wish is on record; 'parley job wait'\n"+
				"waits for the end. Safe to repeat."),
		newJobSteer(httpapi.JobPause, "Hold a job: nothing is begun until it is resumed", "What is under way comes to its end. Safe to repeat."),
		newJobSteer(httpapi.JobResume, "Let a job go on that was paused", "Safe to repeat."),
	)
	return command
}

// jobNumber reads the job of a command line.
func jobNumber(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &codedError{exitUsage, fmt.Errorf("%q is no job's number", text)}
	}
	return id, nil
}

func newJobList() *cobra.Command {
	var o operation
	var all bool
	command := &cobra.Command{
		Use:   "list",
		Short: "List the jobs that have not ended and the plans that can still be applied, or all that are kept",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			jobs, err := o.client().Jobs(command.Context())
			if err != nil {
				return coded(err)
			}
			shown := []httpapi.JobEntry{}
			for _, job := range jobs {
				if all || !job.Ended() && !job.Stale {
					shown = append(shown, job)
				}
			}
			return o.print(command.OutOrStdout(), shown, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "JOB\tKIND\tSTATE\tDONE\tBY\tSINCE\tWHAT")
				for _, job := range shown {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", job.ID, job.Kind, job.State, doneText(job), cmp.Or(job.By, "?"),
						job.Created.Format(time.RFC3339), cmp.Or(job.Error, job.Text))
				}
			})
		},
	}
	command.Flags().BoolVar(&all, "all", false, "those that have ended and plans that do not fit any more, too")
	return o.flags(command)
}

func doneText(job httpapi.JobEntry) string {
	share, known := shareDone(job)
	if !known {
		return "-"
	}
	return fmt.Sprintf("%d%%", int(100*share))
}

func newJobShow() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "show JOB",
		Short: "Show one job",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			id, err := jobNumber(ids[0])
			if err != nil {
				return err
			}
			job, err := o.client().Job(command.Context(), id)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), job, func(w *tabwriter.Writer) { jobTable(w, job) })
		},
	}
	return o.flags(command)
}

func jobTable(w *tabwriter.Writer, job httpapi.JobEntry) {
	fmt.Fprintf(w, "job\t%d\nkind\t%s\nstate\t%s\nby\t%s\nsince\t%s\nlast change\t%s\n", job.ID, job.Kind, job.State, cmp.Or(job.By, "?"),
		job.Created.Format(time.RFC3339), job.Updated.Format(time.RFC3339))
	if job.UnitsTotal > 0 {
		fmt.Fprintf(w, "done\t%d of %d\n", job.UnitsDone, job.UnitsTotal)
	}
	if job.BytesTotal > 0 {
		fmt.Fprintf(w, "bytes\t%s of %s\n", bytesText(job.BytesDone), bytesText(job.BytesTotal))
	}
	if job.Text != "" {
		fmt.Fprintf(w, "now\t%s\n", job.Text)
	}
	if job.Error != "" {
		fmt.Fprintf(w, "error\t%s\n", job.Error)
	}
}

func newJobWait() *cobra.Command {
	var w waiting
	command := &cobra.Command{
		Use:   "wait JOB",
		Short: "Wait for a job's end, and show how far it is",
		Long:  "Exit code 0 where it is done, 1 where it failed or was cancelled, 4 where the waiting ended first: the job goes on then.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			id, err := jobNumber(ids[0])
			if err != nil {
				return err
			}
			job, err := w.client().Job(command.Context(), id)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	return w.flags(command)
}

func newJobSteer(wish httpapi.JobWish, short, long string) *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   string(wish) + " JOB",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			id, err := jobNumber(ids[0])
			if err != nil {
				return err
			}
			return o.steer(command, id, wish)
		},
	}
	return o.flags(command)
}

func (o *operation) steer(command *cobra.Command, id uint64, wish httpapi.JobWish) error {
	job, err := o.client().SteerJob(command.Context(), id, wish)
	if err != nil {
		return coded(err)
	}
	return o.print(command.OutOrStdout(), job, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "job %d (%s) is %s\n", job.ID, job.Kind, job.State)
	})
}
