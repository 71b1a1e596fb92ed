package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newNodeList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the nodes: what they are wanted for, where they are, and what they have",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			nodes, err := o.client().Nodes(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), nodes, func(w *tabwriter.Writer) { nodeTable(w, nodes) })
		},
	}
	return o.flags(command)
}

func nodeTable(w *tabwriter.Writer, nodes []httpapi.NodeEntry) {
	fmt.Fprintln(w, "NODE\tADDRESS\tZONE\tDUTY\tANSWERS\tREPLICAS\tLEADS\tMAP\tDATA\tHELD\tWHY")
	for _, n := range nodes {
		answers, votes := "yes", ""
		if !n.Answers {
			answers = "no"
		}
		if n.MapVoter {
			votes = "votes"
		}
		duty := n.Duty
		if n.Successor != "" {
			duty += " for " + n.Successor
		}
		why := ""
		if n.By != "" || n.Why != "" {
			why = fmt.Sprintf("%s, by %s", n.Since.Format(time.RFC3339), cmp.Or(n.By, "?"))
			if n.Why != "" {
				why += ": " + n.Why
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\t%d\t%s\n",
			n.ID, n.Address, orNone(n.Zone), duty, answers, n.Running, n.Replicas, n.Leads, votes, mebibytes(n.Bytes), n.HeldItems, why)
	}
}

func newNodeDrain() *cobra.Command {
	var w waiting
	var request httpapi.NodeRequest
	command := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node lead nothing and take no replicas, for maintenance; it keeps what it has",
		Long: "The command ends when the node leads nothing any more. It stays so, also over a restart, until 'parley node recommission'.\n" +
			"Refused (3) where no other node serves.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			node, err := w.client().DrainNode(command.Context(), names[0], request)
			if err != nil {
				return coded(err)
			}
			if node, err = w.awaitDrained(command, node); err != nil {
				return err
			}
			return w.print(command.OutOrStdout(), node, func(t *tabwriter.Writer) {
				if node.Leads > 0 {
					fmt.Fprintf(t, "node %s is draining, and still leads %d shards: see 'parley node list'\n", node.ID, node.Leads)
				} else {
					fmt.Fprintf(t, "node %s is drained; 'parley node recommission %s' has it serve again\n", node.ID, node.ID)
				}
			})
		},
	}
	command.Flags().StringVar(&request.Why, "why", "", "why, for whoever looks later")
	return w.flags(command)
}

// awaitDrained waits until a node leads nothing, unless it is not to be waited for.
func (w *waiting) awaitDrained(command *cobra.Command, node httpapi.NodeEntry) (httpapi.NodeEntry, error) {
	if w.detach || !w.wait {
		return node, nil
	}
	ctx := command.Context()
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	for node.Leads > 0 {
		fmt.Fprintf(command.ErrOrStderr(), "node %s leads %d shards\n", node.ID, node.Leads)
		if err := rest(ctx, w.pollInterval()); err != nil {
			return node, &codedError{exitStillRuns, fmt.Errorf("node %s still leads %d shards, and goes on draining: see 'parley node list'", node.ID, node.Leads)}
		}
		nodes, err := w.client().Nodes(ctx)
		if err != nil && !passes(err) {
			return node, coded(err)
		}
		for _, n := range nodes {
			if n.ID == node.ID {
				node = n
			}
		}
	}
	return node, nil
}

func newNodeRecommission() *cobra.Command {
	var o operation
	var request httpapi.NodeRequest
	command := &cobra.Command{
		Use:   "recommission NODE",
		Short: "Have a node serve again that drains or leaves; safe to repeat",
		Long:  "A node that is being decommissioned by a job serves again only when the job has been cancelled: 'parley job cancel'.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			node, err := o.client().RecommissionNode(command.Context(), names[0], request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), node, func(w *tabwriter.Writer) { fmt.Fprintf(w, "node %s is %s\n", node.ID, node.Duty) })
		},
	}
	command.Flags().StringVar(&request.Why, "why", "", "why, for whoever looks later")
	return o.flags(command)
}

func newNodeDecommission() *cobra.Command {
	var w waiting
	var request httpapi.NodeRequest
	command := &cobra.Command{
		Use:   "decommission NODE",
		Short: "Take a node out for good: what it has goes to others first",
		Long: "A job moves its replicas and leads, waits until the node's journal is empty, takes the node out of the cluster and revokes its\n" +
			"certificates. Then stop its process. Its ID is never used again. Refused (3) where too few nodes would be left for the replicas of\n" +
			"each shard. 'parley job cancel' has the node serve again.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			job, err := w.client().Decommission(command.Context(), names[0], request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().StringVar(&request.Why, "why", "", "why, for whoever looks later")
	return w.flags(command)
}

func newNodeReplace() *cobra.Command {
	var w waiting
	var request httpapi.ReplaceRequest
	command := &cobra.Command{
		Use:   "replace NODE --with OTHER",
		Short: "Take a node out for good, and have another one take over all that it has",
		Long: "The other one has joined already. With --lost the node is taken for dead: it is taken out as soon as its replicas are elsewhere, and\n" +
			"what it may have in its journal is given up; its submitters keep that until they have a verdict.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			if request.With == names[0] {
				return &codedError{exitUsage, errors.New("a node does not replace itself")}
			}
			job, err := w.client().ReplaceNode(command.Context(), names[0], request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().StringVar(&request.With, "with", "", "the node that takes over")
	command.Flags().StringVar(&request.Why, "why", "", "why, for whoever looks later")
	command.Flags().BoolVar(&request.Lost, "lost", false, "the node does not come back")
	return required(w.flags(command), "with")
}

func newNodeForget() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "forget NODE",
		Short: "Take a dead node that has nothing out of the cluster for good; safe to repeat",
		Long: "It is for a node that does not come back, when its replicas have been replaced: its certificates are revoked, and its ID is never used\n" +
			"again. Refused (3) while it answers, or has replicas by the map.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			if err := o.client().ForgetNode(command.Context(), names[0]); err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), map[string]string{"node": names[0]}, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "node %s belongs to the cluster no more\n", names[0])
			})
		},
	}
	return o.flags(command)
}
