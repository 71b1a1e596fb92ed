package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
	"parley/fsm"
	"parley/httpapi"
)

// rebuildLook is how often a replica that is being rebuilt is looked at.
const rebuildLook = time.Second

func newCheck() *cobra.Command {
	var o operation
	var only []int
	var repair bool
	var patience time.Duration
	command := &cobra.Command{
		Use:   "check [--shard N] [--repair]",
		Short: "Compare all replicas of every shard, and of the cluster's map, while they are at work",
		Long: "All replicas of a shard are compared as of one index of its log, so nothing has to stand still. One that differs is named, with the\n" +
			"first slot in which it does. With --repair each that differs from what a majority holds is cleared and rebuilt from the\n" +
			"others, one after the other, and compared again. Exit code 1 where replicas differ, or could not be compared; 3 where\n" +
			"nobody knows which is right; 4 where a rebuild goes on by itself.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c := checker{client: o.client(), progress: command.ErrOrStderr(), patience: patience}
			shards, err := c.shards(command.Context(), only)
			if err != nil {
				return coded(err)
			}
			checks, failed := c.all(command.Context(), shards, repair)
			if err := o.print(command.OutOrStdout(), checks, func(w *tabwriter.Writer) { checkTable(w, checks) }); err != nil {
				return err
			}
			if failed != nil {
				return coded(failed)
			}
			if slices.ContainsFunc(checks, func(c httpapi.ShardCheck) bool { return !c.Equal }) {
				return errSaid
			}
			return nil
		},
	}
	command.Flags().IntSliceVar(&only, "shard", nil, "this shard alone (repeatable); 0 is the cluster's map")
	command.Flags().BoolVar(&repair, "repair", false, "rebuild what differs from the majority")
	command.Flags().DurationVar(&patience, "timeout", 30*time.Minute, "how long a rebuild is waited for")
	return o.flags(command)
}

// checker goes through shards, one after the other.
type checker struct {
	client   *adminclient.Client
	progress io.Writer
	patience time.Duration
}

func (c checker) say(format string, arguments ...any) {
	fmt.Fprintf(c.progress, format+"\n", arguments...)
}

func (c checker) shards(ctx context.Context, only []int) (shards []fsm.ShardID, err error) {
	for _, n := range only {
		shards = append(shards, fsm.ShardID(n))
	}
	if len(shards) > 0 {
		return shards, nil
	}
	status, err := c.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.ClusterID == "" {
		return nil, errors.New("the node belongs to no cluster yet")
	}
	shards = append(shards, 0)
	for _, s := range status.Shards {
		if len(s.Replicas) > 0 { // a shard that is retired has none
			shards = append(shards, s.ID)
		}
	}
	return shards, nil
}

// all checks each shard, and answers what was found until something went wrong.
func (c checker) all(ctx context.Context, shards []fsm.ShardID, repair bool) (checks []httpapi.ShardCheck, failed error) {
	checks = []httpapi.ShardCheck{}
	for i, shard := range shards {
		check, err := c.client.Check(ctx, shard)
		if err == nil {
			c.say("%d of %d: %s", i+1, len(shards), checkText(check))
			if repair && !check.Equal {
				check, err = c.repair(ctx, check)
			}
		}
		if err != nil {
			return checks, fmt.Errorf("%s: %w", shardName(shard), err)
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// repair rebuilds what differs, and answers what is there then.
func (c checker) repair(ctx context.Context, check httpapi.ShardCheck) (httpapi.ShardCheck, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	wrong := slices.DeleteFunc(slices.Clone(check.Replicas), func(r httpapi.ReplicaCheck) bool { return !r.Differs })
	coming, err := c.coming(ctx, check)
	if err != nil {
		return check, err
	}
	if len(wrong)+len(coming) == 0 {
		return check, c.nobodyDiffers(check)
	}
	for _, node := range coming {
		c.say("%s: the replica on %s is being rebuilt already", shardName(check.Shard), node)
		if err := c.awaitWhole(ctx, check.Shard, node, func(httpapi.ClusterStatus) bool { return true }); err != nil {
			return check, err
		}
	}
	for _, r := range wrong {
		c.say("%s: the replica on %s is cleared and rebuilt", shardName(check.Shard), r.Node)
		before, err := c.client.Status(ctx)
		if err != nil {
			return check, err
		}
		if err := c.client.Repair(ctx, check.Shard, r.Node); err != nil {
			return check, err
		}
		if err := c.awaitRebuilt(ctx, check.Shard, r.Node, clearedBy(before, r.Node)); err != nil {
			return check, err
		}
	}
	again, err := c.client.Check(ctx, check.Shard)
	if err == nil {
		c.say("again: %s", checkText(again))
	}
	return again, err
}

// coming are the nodes whose replicas could not be compared as they are being rebuilt: somebody has asked for that before, and did not wait.
func (c checker) coming(ctx context.Context, check httpapi.ShardCheck) (nodes []string, err error) {
	status, err := c.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range check.Replicas {
		if r.Error != "" && replicaRebuilds(status, check.Shard, r.Node) {
			nodes = append(nodes, r.Node)
		}
	}
	return nodes, nil
}

// replicaRebuilds reports whether a replica is held back for damage, or on its way back.
func replicaRebuilds(status httpapi.ClusterStatus, shard fsm.ShardID, node string) bool {
	if shard == 0 {
		return !replicaWhole(status, shard, node)
	}
	for _, s := range status.Shards {
		i := slices.IndexFunc(s.Replicas, func(r httpapi.ReplicaStatus) bool { return r.Node == node })
		if s.ID == shard && i >= 0 {
			return s.Replicas[i].Reason != "" || s.Replicas[i].Rebuilding
		}
	}
	return false
}

// clearedBy is how many replicas a node has cleared since it was started.
func clearedBy(status httpapi.ClusterStatus, node string) uint64 {
	i := slices.IndexFunc(status.Nodes, func(n httpapi.NodeStatus) bool { return n.ID == node })
	if i < 0 {
		return 0
	}
	return status.Nodes[i].Cleared
}

// nobodyDiffers is why replicas that are not all equal cannot be repaired.
func (c checker) nobodyDiffers(check httpapi.ShardCheck) error {
	var digests []string
	for _, r := range check.Replicas {
		if r.Error == "" {
			digests = append(digests, r.Digest)
		}
	}
	if slices.Sort(digests); len(slices.Compact(digests)) <= 1 {
		return nil // some could not be compared, which is no damage
	}
	return &codedError{exitUnsafe, errors.New("no majority of the replicas holds the same, so nobody knows which is right: bring the others back, or restore a backup")}
}

// awaitRebuilt waits until a replica has been cleared, runs again and votes. That it was away may be too short to be seen; then its node has
// cleared more than before.
func (c checker) awaitRebuilt(ctx context.Context, shard fsm.ShardID, node string, cleared uint64) error {
	gone := false
	return c.awaitWhole(ctx, shard, node, func(status httpapi.ClusterStatus) bool {
		gone = gone || !replicaWhole(status, shard, node) || clearedBy(status, node) > cleared
		return gone
	})
}

// awaitWhole waits until a replica runs and votes, at a look at which more is so.
func (c checker) awaitWhole(ctx context.Context, shard fsm.ShardID, node string, more func(httpapi.ClusterStatus) bool) error {
	ticker := time.NewTicker(rebuildLook)
	defer ticker.Stop()
	for {
		status, err := c.client.Status(ctx)
		if err == nil && more(status) && replicaWhole(status, shard, node) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the replica on %s is still being rebuilt, which goes on by itself ('parley cluster status'): %w", node, ctx.Err())
		}
	}
}

// replicaWhole reports whether a replica runs and votes.
func replicaWhole(status httpapi.ClusterStatus, shard fsm.ShardID, node string) bool {
	if shard == 0 {
		i := slices.IndexFunc(status.Nodes, func(n httpapi.NodeStatus) bool { return n.ID == node })
		return i >= 0 && status.Nodes[i].MapReason == ""
	}
	for _, s := range status.Shards {
		if s.ID != shard {
			continue
		}
		i := slices.IndexFunc(s.Replicas, func(r httpapi.ReplicaStatus) bool { return r.Node == node })
		return i >= 0 && s.Replicas[i].Running && s.Replicas[i].Voter && !s.Replicas[i].Rebuilding && s.Replicas[i].Reason == ""
	}
	return false
}

func shardName(shard fsm.ShardID) string {
	if shard == 0 {
		return "the cluster's map"
	}
	return fmt.Sprintf("shard %d", shard)
}

func checkText(c httpapi.ShardCheck) string {
	if c.Equal {
		return fmt.Sprintf("%s: %d replicas are equal at index %d", shardName(c.Shard), len(c.Replicas), c.Index)
	}
	return fmt.Sprintf("%s: the replicas are NOT all known to be equal at index %d", shardName(c.Shard), c.Index)
}

func checkTable(w *tabwriter.Writer, checks []httpapi.ShardCheck) {
	fmt.Fprintln(w, "SHARD\tINDEX\tNODE\tDIGEST\tRECORDS\tBYTES\tVERDICT")
	for _, c := range checks {
		for _, r := range c.Replicas {
			verdict := "equal"
			switch {
			case r.Error != "":
				verdict = "not compared: " + r.Error
			case r.Differs:
				verdict = "DIFFERS from the majority, first in " + r.First
			case !c.Equal && !slices.ContainsFunc(c.Replicas, func(r httpapi.ReplicaCheck) bool { return r.Differs || r.Error != "" }):
				verdict = "DIFFERS, and there is no majority"
			}
			fmt.Fprintf(w, "%d\t%d\t%s\t%.16s\t%d\t%d\t%s\n", c.Shard, c.Index, r.Node, r.Digest, r.Records, r.Bytes, verdict)
		}
	}
}
