package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
	"parley/mimi"
)

func newPeerPause() *cobra.Command {
	return newPeerHold("pause DOMAIN", true, "Send nothing more to a provider; what is for it waits",
		"It is paused for the whole cluster, and stays so over restarts. What it sends is taken as before. What is on its way is not called\n"+
			"back. What waits longer than the cluster's retention is given up all the same ('parley cluster settings show'). Safe to\n"+
			"repeat: the first word, who and why, stands.")
}

func newPeerResume() *cobra.Command {
	return newPeerHold("resume DOMAIN", false, "Send what has waited for a provider that was paused, and go on",
		"Each room's bodies go in their order, from the first that was not acknowledged. Safe to repeat.")
}

func newPeerHold(use string, paused bool, short, long string) *cobra.Command {
	var o operation
	var request httpapi.HoldRequest
	command := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			domain, err := mimi.ParseProvider(names[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			hold, err := o.client().HoldPeer(command.Context(), domain, paused, request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), hold, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "%s: %s\n", domain, holdText(&hold))
			})
		},
	}
	command.Flags().StringVar(&request.By, "by", osUser(), "who wants it so, for whoever looks later")
	command.Flags().StringVar(&request.Why, "why", "", "and why")
	return o.flags(command)
}

// holdText says whether a peer is paused, and by whose word.
func holdText(hold *httpapi.PeerHold) string {
	switch {
	case hold == nil || hold.Since.IsZero():
		return "not paused"
	case hold.Paused:
		return fmt.Sprintf("paused since %s by %s%s", hold.Since.Format(time.RFC3339), cmp.Or(hold.By, "?"), because(hold.Why))
	default:
		return fmt.Sprintf("goes on since %s by %s%s", hold.Since.Format(time.RFC3339), cmp.Or(hold.By, "?"), because(hold.Why))
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func newPeerReplay() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "replay DOMAIN",
		Short: "Send a provider at once what waits for it, without waiting for back-off",
		Long: "Every node forgets that the provider has failed and which rooms it has refused, and sends what is still in the outbox from the\n" +
			"start. What the provider has acknowledged is gone and cannot be sent again. Safe to repeat. Exit code 1 where a node could\n" +
			"not be told.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			domain, err := mimi.ParseProvider(names[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			report, err := o.client().ReplayPeer(command.Context(), domain)
			if err != nil {
				return coded(err)
			}
			err = o.print(command.OutOrStdout(), report, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "%d nodes try %s again\n", report.Nodes, domain)
				failureTable(w, report.Failed)
			})
			if err == nil && len(report.Failed) > 0 {
				return errSaid
			}
			return err
		},
	}
	return o.flags(command)
}

func failureTable(w *tabwriter.Writer, failed []httpapi.NodeFailure) {
	for _, f := range failed {
		fmt.Fprintf(w, "%s could not be asked: %s\n", f.Node, f.Reason)
	}
}

func newPeerBacklog() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "backlog [DOMAIN]",
		Short: "Show what waits for each provider, who delivers it, and what is wrong",
		Long: "All nodes are asked. SHARDS says which node delivers what waits in a shard; a node that does not answer is named, and what it\n" +
			"leads is missing. Exit code 1 then.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			backlog, err := o.client().Backlog(command.Context())
			if err != nil {
				return coded(err)
			}
			if len(names) == 1 {
				domain, err := mimi.ParseProvider(names[0])
				if err != nil {
					return &codedError{exitUsage, err}
				}
				backlog.Peers = only(backlog.Peers, domain)
			}
			err = o.print(command.OutOrStdout(), backlog, func(w *tabwriter.Writer) { backlogTable(w, backlog, time.Now()) })
			if err == nil && len(backlog.Failed) > 0 {
				return errSaid
			}
			return err
		},
	}
	return o.flags(command)
}

func only(peers []httpapi.PeerBacklog, domain mimi.Provider) (found []httpapi.PeerBacklog) {
	found = []httpapi.PeerBacklog{}
	for _, p := range peers {
		if p.Destination == domain {
			found = append(found, p)
		}
	}
	return found
}

func backlogTable(w *tabwriter.Writer, backlog httpapi.Backlog, now time.Time) {
	fmt.Fprintln(w, "DESTINATION\tITEMS\tBYTES\tROOMS\tOLDEST\tGIVEN UP\tSTATE\tSHARDS (shard:deliverer)")
	for _, p := range backlog.Peers {
		oldest := "-"
		if !p.Oldest.IsZero() {
			oldest = max(now.Sub(p.Oldest), 0).Round(time.Second).String()
		}
		var shards []string
		for _, s := range p.Shards {
			if s.Items > 0 {
				shards = append(shards, fmt.Sprintf("%d:%s", s.Shard, orNone(s.Deliverer)))
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n", p.Destination, p.Items, p.Bytes, p.Rooms, oldest, p.DroppedItems, backlogState(p),
			strings.Join(shards, " "))
	}
	for _, p := range backlog.Peers {
		laneTable(w, p, now)
	}
	failureTable(w, backlog.Failed)
}

// backlogState is what an operator should know first.
func backlogState(p httpapi.PeerBacklog) string {
	parked, failing := 0, false
	for _, l := range p.Lanes {
		parked += len(l.Parked) + l.ParkedMore
		failing = failing || !l.FailingSince.IsZero()
	}
	switch {
	case p.Hold != nil && p.Hold.Paused:
		return "paused"
	case failing:
		return "failing"
	case parked > 0:
		return fmt.Sprintf("%d rooms refused", parked)
	case p.Items > 0:
		return "delivering"
	default:
		return "idle"
	}
}

func laneTable(w *tabwriter.Writer, p httpapi.PeerBacklog, now time.Time) {
	if p.Hold != nil && p.Hold.Paused {
		fmt.Fprintf(w, "\n%s is %s\n", p.Destination, holdText(p.Hold))
	}
	for _, l := range p.Lanes {
		if !l.FailingSince.IsZero() {
			fmt.Fprintf(w, "\n%s fails at %s for %s, next try in %s: %s\n", p.Destination, l.Node, now.Sub(l.FailingSince).Round(time.Second),
				max(l.NextTry.Sub(now), 0).Round(time.Second), l.Error)
		}
		for _, r := range l.Parked {
			fmt.Fprintf(w, "\n%s refuses %s at %s for %s, next try in %s: %s\n", p.Destination, r.Room, l.Node, now.Sub(r.Since).Round(time.Second),
				max(r.NextTry.Sub(now), 0).Round(time.Second), r.Refusal)
		}
		if l.ParkedMore > 0 {
			fmt.Fprintf(w, "\n%s refuses %d more rooms at %s\n", p.Destination, l.ParkedMore, l.Node)
		}
	}
}
