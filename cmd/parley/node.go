package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

func newNode() *cobra.Command {
	command := &cobra.Command{Use: "node", Short: "Bring nodes into a cluster, look after them, and take them out"}
	command.AddCommand(newNodeList(), newNodeDrain(), newNodeRecommission(), newNodeDecommission(), newNodeReplace(), newNodeForget())
	command.AddCommand(newNodeInvite(), newNodeInvitations(), newNodeUninvite(), newNodeJoin())
	return command
}

func newNodeInvite() *cobra.Command {
	var o operation
	var request httpapi.InviteRequest
	var ttl time.Duration
	command := &cobra.Command{
		Use:   "invite [--id NODE]",
		Short: "Make a token with which one node can join; it is shown this once",
		Long: "Run it at a member, and 'parley node join --token' at the node that is to come. The token is good once. Made for the\n" +
			"ID of a member, it gives that member another certificate, for instance after 'parley certs revoke'.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			request.TTLSeconds = int((ttl + time.Second - 1) / time.Second)
			invitation, err := o.client().Invite(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), invitation, func(w *tabwriter.Writer) { fmt.Fprintln(w, invitation.Token) })
		},
	}
	command.Flags().StringVar(&request.Node, "id", "", "the only node that may use it; empty lets the node choose an ID that is free")
	command.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is good for, at most 7 days")
	return o.flags(command)
}

func newNodeInvitations() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "invitations",
		Short: "List the join tokens that no node has used up, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			invitations, err := o.client().Invitations(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), invitations, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "ID\tFOR\tUNTIL\tUSED BY")
				for _, i := range invitations {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.ID, cmp.Or(i.Node, "any new node"), i.Until.Format(time.RFC3339), i.UsedBy)
				}
			})
		},
	}
	return o.flags(command)
}

func newNodeUninvite() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "uninvite ID",
		Short: "End a join token before it is used; safe to repeat",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, ids []string) error {
			left, err := o.client().Invitations(command.Context())
			if err != nil {
				return coded(err)
			}
			if !slices.ContainsFunc(left, func(i httpapi.InvitationEntry) bool { return i.ID == ids[0] }) {
				fmt.Fprintf(command.ErrOrStderr(), "There is no invitation %s, or none any more: 'parley node invitations' lists them by ID.\n", ids[0])
			}
			return coded(o.client().RevokeInvitation(command.Context(), ids[0]))
		},
	}
	return o.flags(command)
}

func newNodeJoin() *cobra.Command {
	var o operation
	var request httpapi.JoinRequest
	command := &cobra.Command{
		Use:   "join --token TOKEN | --seed HOST:PORT",
		Short: "Bring this node into a cluster; safe to repeat",
		Long: "With a token, a node that was given no credentials makes its key, checks the member that it reaches by the fingerprint in\n" +
			"the token, and gets its certificate. A node with configured credentials needs a seed alone.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if request.Token == "-" {
				text, err := io.ReadAll(io.LimitReader(command.InOrStdin(), 64<<10))
				if err != nil {
					return err
				}
				request.Token = strings.TrimSpace(string(text))
			}
			if request.Token == "" && len(request.Seeds) == 0 {
				return &codedError{exitUsage, errors.New("--token or --seed is needed")}
			}
			identity, err := o.client().Join(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), identity, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "node %s belongs to cluster %s\n", identity.Node, identity.ClusterID)
			})
		},
	}
	command.Flags().StringVar(&request.Token, "token", "", "of 'parley node invite'; - reads it from standard input")
	command.Flags().StringVar(&request.Node, "id", "", "this node's ID, for ever, where the token is for any node")
	command.Flags().StringSliceVar(&request.Seeds, "seed", nil, "cluster address of a member (repeatable); a token has some of its own")
	return o.flags(command)
}
