package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cluster"
	"parley/storage"
)

// probeLostTimeout is how long a node that is said to be lost has to answer. Its port refuses at once where only the process is gone.
const probeLostTimeout = 3 * time.Second

func newRecover() *cobra.Command {
	var r recovery
	command := &cobra.Command{
		Use:   "recover --data DIR --lost NODE,...",
		Short: "Go on from what is left when a quorum is lost for good",
		Long: "For a cluster of which so many nodes are lost for good that no majority is left. The nodes that are left must not run. Without --yes\n" +
			"it shows from which replicas the cluster would go on, and what may be lost; with it, it does so. The cluster then begins a new\n" +
			"generation: rooms are stale until a member's GroupInfo has brought them forward, and single-use KeyPackages are dropped.\n" +
			"Lost nodes must never come back with what they had: one that does is refused, and ends.\n\n" +
			"Where several nodes are left, survey each ('parley recover survey'), make one plan of the surveys ('parley recover plan'), and carry it\n" +
			"out on each ('parley recover apply'). Cut off, it is run again and goes on. See docs/quorum-loss.md.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return r.alone(command.Context(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	r.dataFlag(command)
	r.planFlags(command)
	r.yesFlag(command)
	command.AddCommand(newRecoverSurvey(), newRecoverPlan(), newRecoverApply())
	return command
}

// jsonInAnyCase takes the --json of all other commands where nothing else is printed.
func jsonInAnyCase(command *cobra.Command) {
	command.Flags().Bool("json", true, "print JSON, as it does without being asked")
}

func newRecoverSurvey() *cobra.Command {
	var r recovery
	command := &cobra.Command{
		Use:   "survey --data DIR",
		Short: "Print what is left in a node's directory, as JSON; nothing is changed",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			survey, err := r.directory().Survey()
			if err != nil {
				return recoveryError(err)
			}
			return writeJSON(command.OutOrStdout(), survey)
		},
	}
	r.dataFlag(command)
	jsonInAnyCase(command)
	return command
}

func newRecoverPlan() *cobra.Command {
	var r recovery
	command := &cobra.Command{
		Use:   "plan --lost NODE,... SURVEY...",
		Short: "Make a plan of surveys; the plan goes to the standard output, what it means to the standard error",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, files []string) error {
			surveys, err := readSurveys(files)
			if err != nil {
				return err
			}
			plan, err := r.plan(command.Context(), surveys)
			if err != nil {
				return recoveryError(err)
			}
			if err := showPlan(command.ErrOrStderr(), plan); err != nil {
				return err
			}
			return writeJSON(command.OutOrStdout(), plan)
		},
	}
	r.planFlags(command)
	jsonInAnyCase(command)
	return command
}

func newRecoverApply() *cobra.Command {
	var r recovery
	var file string
	command := &cobra.Command{
		Use:   "apply --data DIR --plan FILE --yes",
		Short: "Carry a plan out in the directory of one of its survivors",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			var plan cluster.RecoveryPlan
			if err := readJSONFile(file, &plan); err != nil {
				return err
			}
			if len(plan.Survivors) == 0 || len(plan.Groups) == 0 {
				return &codedError{exitUsage, fmt.Errorf("%s is no plan: 'parley recover plan' prints one", file)}
			}
			return r.carryOut(command.OutOrStdout(), command.ErrOrStderr(), plan)
		},
	}
	r.dataFlag(command)
	r.yesFlag(command)
	command.Flags().StringVar(&file, "plan", "", "the plan, as 'parley recover plan' printed it")
	if err := command.MarkFlagRequired("plan"); err != nil {
		panic(err)
	}
	return command
}

// recovery is what the commands are told.
type recovery struct {
	data  string
	lost  []string
	ended string
	yes   bool
	json  bool
}

func (r *recovery) dataFlag(command *cobra.Command) {
	command.Flags().StringVar(&r.data, "data", "", "the data directory of a node that does not run")
	if err := command.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
}

func (r *recovery) planFlags(command *cobra.Command) {
	command.Flags().StringSliceVar(&r.lost, "lost", nil, "nodes that are lost for good, by ID")
	command.Flags().StringVar(&r.ended, "ended", "", "by when the lost nodes had stopped for certain, as 2006-01-02T15:04:05Z; KeyPackages that were valid by then are not taken in. Empty: now")
}

func (r *recovery) yesFlag(command *cobra.Command) {
	command.Flags().BoolVar(&r.yes, "yes", false, "do it; without it nothing is changed")
	command.Flags().BoolVar(&r.json, "json", false, "print the plan as JSON")
}

func (r *recovery) directory() cluster.SurvivingDir { return cluster.SurvivingDir{DataDir: r.data} }

// alone recovers a cluster of which one node is left, or goes on with a recovery that was cut off.
func (r *recovery) alone(ctx context.Context, out, progress io.Writer) error {
	plan, begun, err := r.directory().UnfinishedPlan()
	if err != nil {
		return recoveryError(err)
	}
	if begun {
		fmt.Fprintln(progress, "A recovery of this directory was begun and has not ended; it goes on.")
		return r.carryOut(out, progress, plan)
	}
	survey, err := r.directory().Survey()
	if err != nil {
		return recoveryError(err)
	}
	if survey.GoesOnWithout(r.lost) {
		return r.nothingToDo(out, survey)
	}
	if plan, err = r.plan(ctx, []cluster.Survivor{survey}); err != nil {
		return recoveryError(err)
	}
	return r.carryOut(out, progress, plan)
}

// nothingToDo is for who does not know that his recovery has ended, and asks for it again.
func (r *recovery) nothingToDo(out io.Writer, survey cluster.Survivor) error {
	if r.json {
		return writeJSON(out, cluster.RecoveryPlan{
			ClusterID: survey.ClusterID, Generation: survey.Generation, Survivors: []string{survey.Node}, Lost: r.lost, Groups: []cluster.GroupPlan{},
		})
	}
	_, err := fmt.Fprintf(out, "There is nothing to recover: %s is the cluster's only node, in generation %d, and %s are out of it. Start it.\n",
		survey.Node, survey.Generation, strings.Join(r.lost, ", "))
	return err
}

// plan makes the plan, and refuses it where a node that is said to be lost answers.
func (r *recovery) plan(ctx context.Context, surveys []cluster.Survivor) (cluster.RecoveryPlan, error) {
	ended := time.Now()
	if r.ended != "" {
		at, err := time.Parse(time.RFC3339, r.ended)
		if err != nil || at.After(ended) {
			return cluster.RecoveryPlan{}, &codedError{exitUsage, fmt.Errorf("--ended %q is no time of the past: %v", r.ended, err)}
		}
		ended = at
	}
	plan, err := cluster.PlanRecovery(surveys, r.lost, uint64(ended.UnixMilli()))
	if err != nil {
		return plan, err
	}
	for _, survey := range surveys {
		if survey.Map == nil {
			continue
		}
		for _, node := range survey.Map.Nodes {
			if slices.Contains(plan.Lost, node.ID) && answers(ctx, node.Address) {
				return plan, &cluster.RefusedError{Reason: fmt.Sprintf(
					"node %s is said to be lost, and something listens at its address %s: stop it, and see that it cannot start again, or survey its directory", node.ID, node.Address)}
			}
		}
	}
	return plan, nil
}

// answers reports whether a connection can be made.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLostTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close() // it has answered
	return true
}

// carryOut shows a plan, and carries it out where that was said.
func (r *recovery) carryOut(out, progress io.Writer, plan cluster.RecoveryPlan) error {
	if r.json {
		if err := writeJSON(out, plan); err != nil {
			return err
		}
	} else if err := showPlan(out, plan); err != nil {
		return err
	}
	if !r.yes {
		fmt.Fprintln(progress, "\nNothing was changed. With --yes the cluster goes on like this.")
		return nil
	}
	dir := r.directory()
	dir.Reached = func(point string) { fmt.Fprintln(progress, point) }
	if err := dir.Recover(plan); err != nil {
		return recoveryError(err)
	}
	fmt.Fprintf(progress, "\nThe directory is of generation %d. Start the node when all directories of the plan are: %s.\n", plan.Generation, strings.Join(plan.Survivors, ", "))
	return nil
}

// showPlan says what a plan does and what may be lost by it.
func showPlan(out io.Writer, plan cluster.RecoveryPlan) error {
	fmt.Fprintf(out, "Cluster %s goes on in generation %d, on %s, without %s.\n\n", plan.ClusterID, plan.Generation, strings.Join(plan.Survivors, ", "), strings.Join(plan.Lost, ", "))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tFROM\tDECIDED UP TO\tHUB TIME\tKEPT\tLEFT OUT\tMAY BE LOST")
	for _, g := range plan.Groups {
		name, clock, kept, left := fmt.Sprintf("shard %d", g.Group), "-", "-", "-"
		if g.Group == 0 {
			name = "meta"
		} else {
			clock = time.UnixMilli(int64(g.HubMillis)).UTC().Format(time.RFC3339)
			kept, left = fmt.Sprint(g.Messages), fmt.Sprint(g.Others)
		}
		lost := "what only the lost nodes had"
		if g.Whole {
			lost = "nothing"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", name, g.Source, g.At, clock, kept, left, lost)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var emptied []string
	for _, s := range plan.Groups[len(plan.Groups)-1].Slots {
		if s.Empty {
			emptied = append(emptied, fmt.Sprint(s.Slot))
		}
	}
	if len(emptied) > 0 {
		fmt.Fprintf(out, "\nNo survivor has the slots %s: all that was in them is lost.\n", strings.Join(emptied, ", "))
	}
	_, err := fmt.Fprintln(out, "\nKEPT are messages that the replica had not applied: they are taken, whether they were decided or not. LEFT OUT are Commits, claims, leases and\n"+
		"rooms among that: nobody can tell whether they were decided, or otherwise. All rooms become stale, all single-use KeyPackages are dropped.")
	return err
}

// recoveryError gives an error its exit code.
func recoveryError(err error) error {
	refused := (*cluster.RefusedError)(nil)
	switch {
	case errors.As(err, &refused):
		return &codedError{exitUnsafe, err}
	case errors.Is(err, storage.ErrLocked):
		return &codedError{exitUnsafe, fmt.Errorf("the directory is in use: stop its node first (%w)", err)}
	case errors.Is(err, storage.ErrNoIdentity):
		return fmt.Errorf("no node of a cluster has used the directory: %w", err)
	default:
		return err
	}
}

func readSurveys(files []string) (surveys []cluster.Survivor, err error) {
	for _, file := range files {
		var survey cluster.Survivor
		if err := readJSONFile(file, &survey); err != nil {
			return nil, err
		}
		if survey.Node == "" || len(survey.Groups) == 0 {
			return nil, &codedError{exitUsage, fmt.Errorf("%s is no survey: 'parley recover survey' prints one", file)}
		}
		surveys = append(surveys, survey)
	}
	return surveys, nil
}

func readJSONFile(file string, value any) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
