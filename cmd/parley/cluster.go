package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
	"parley/mimi"
)

func newCluster() *cobra.Command {
	command := &cobra.Command{Use: "cluster", Short: "Begin a cluster, and look at one"}
	command.AddCommand(newClusterInit(), newClusterStatus(), newClusterReseal(), newClusterHubKey(), newClusterSettings(), newClusterPlacement())
	return command
}

func newClusterInit() *cobra.Command {
	var o operation
	var domains []string
	var request httpapi.InitRequest
	var limits *claimLimits
	command := &cobra.Command{
		Use:   "init --domain DOMAIN",
		Short: "Begin a cluster with this node, once",
		Long: "A node without credentials makes the cluster's CA, whose private key then lives in the cluster, sealed. The shards are placed\n" +
			"when as many nodes have joined as each shard has replicas. The same command again goes on where an earlier one was cut\n" +
			"off. The number of shards and replicas can't be changed by it later.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			for _, text := range domains {
				domain, err := mimi.ParseProvider(text)
				if err != nil {
					return &codedError{exitUsage, fmt.Errorf("--domain: %w", err)}
				}
				request.Domains = append(request.Domains, domain)
			}
			request.Claims = limits.said()
			identity, err := o.client().Init(command.Context(), request)
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), identity, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "cluster %s begun with node %s\n", identity.ClusterID, identity.Node)
			})
		},
	}
	command.Flags().StringSliceVar(&domains, "domain", nil, "the provider's domain; repeat for further ones, the first is the one it speaks as")
	command.Flags().IntVar(&request.Shards, "shards", 6, "Raft groups that share the rooms and users")
	command.Flags().IntVar(&request.Replicas, "replicas", 3, "replicas of each shard")
	command.Flags().IntVar(&request.KeyPackageLifetimeMaxDays, "key-package-lifetime-days", 92, "longest lifetime of an uploaded KeyPackage")
	command.Flags().StringVar(&request.ConsentDefault, "consent", "ask", "who may claim KeyPackages of users that have said nothing: ask (whom they granted it), allow, or provider (this one's users)")
	limits = claimFlags(command)
	command.Flags().StringVar(&request.Node, "id", "n1", "this node's ID, for ever; a node with configured credentials has the one in them")
	return required(o.flags(command), "domain")
}

func newClusterReseal() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "reseal",
		Short: "Seal the cluster's secrets under the present seal key",
		Long: "To replace the seal key: give every node the new one, and the old one under old_seal_key_files; restart them one\n" +
			"after the other; run this; take old_seal_key_files away. It is refused while a node does not have the new key.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			report, err := o.client().Reseal(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), report, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "%d secrets sealed anew\n", report.Secrets)
			})
		},
	}
	return o.flags(command)
}

func newClusterStatus() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, shards, leaders and what waits for peers",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := o.client().Status(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), status, func(w *tabwriter.Writer) { statusTable(w, status) })
		},
	}
	return o.flags(command)
}

func statusTable(w *tabwriter.Writer, s httpapi.ClusterStatus) {
	if s.Removed != "" {
		fmt.Fprintf(w, "cluster %s, answered by %s\n\n!! %s\n", s.ClusterID, s.Node, s.Removed)
		return
	}
	if s.ClusterID == "" {
		fmt.Fprintf(w, "%s belongs to no cluster yet: run 'parley cluster init' or 'parley node join'\n", strings.TrimSpace("node "+s.Node))
		return
	}
	fmt.Fprintf(w, "cluster %s, generation %d, map version %d, meta leader %s, answered by %s\n\n", s.ClusterID, s.Generation, s.MapVersion, orNone(s.MetaLeader), s.Node)
	for _, trouble := range troubles(s) {
		fmt.Fprintf(w, "!! %s\n", trouble)
	}
	if len(s.Shards) == 0 {
		fmt.Fprintln(w, "!! there is no shard yet: they are placed when as many nodes have joined as each has replicas ('parley cluster placement show')")
	}
	fmt.Fprintln(w, "NODE\tADDRESS\tSTATE\tLEADS\tCLOCK\tHELD")
	for _, n := range s.Nodes {
		clock := "unknown"
		if n.ClockOffsetMillis != nil {
			clock = fmt.Sprintf("%+d ms", *n.ClockOffsetMillis)
		}
		held := "unknown"
		if n.Held != nil {
			held = strconv.Itoa(n.Held.Items)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", n.ID, n.Address, n.State, n.Leads, clock, held)
	}
	fmt.Fprintln(w, "\nSHARD\tSLOTS\tSTATE\tLEADER\tTERM\tREPLICAS (node:applied)")
	for _, shard := range s.Shards {
		var replicas []string
		for _, r := range shard.Replicas {
			text := fmt.Sprintf("%s:%d", r.Node, r.Applied)
			if !r.Running {
				text = r.Node + ":down"
			}
			replicas = append(replicas, text)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", shard.ID, slotsText(shard), shard.State, orNone(shard.Leader), shard.Term,
			strings.Join(replicas, " "))
	}
	damageTable(w, s)
	for _, shard := range s.Shards {
		for _, r := range shard.Replicas {
			if f := r.Fetching; f != nil {
				fmt.Fprintf(w, "\nthe replica of shard %d on %s gets a whole state from %s: %s of about %s here, %s written (%s came, %s reused)\n",
					shard.ID, r.Node, f.Source, mebibytes(f.HereBytes), mebibytes(f.TotalBytes), mebibytes(f.WrittenBytes),
					mebibytes(f.FetchedBytes), mebibytes(f.ReusedBytes))
			}
		}
	}
	if len(s.Outbox) > 0 {
		fmt.Fprintln(w, "\nof the shards that this node leads")
		fmt.Fprintln(w, "WAITS FOR\tITEMS\tBYTES\tROOMS\tSINCE\tDROPPED")
		for _, b := range s.Outbox {
			since := "-"
			if b.OldestMillis > 0 {
				since = time.UnixMilli(int64(b.OldestMillis)).UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%d\n", b.Destination, b.Items, mebibytes(b.Bytes), b.Rooms, since, b.DroppedItems)
		}
	}
}

// slotsText is how many slots a shard has, and how many of them are on their way to another.
func slotsText(shard httpapi.ShardStatus) string {
	if shard.Moving == 0 {
		return strconv.Itoa(shard.Slots)
	}
	return fmt.Sprintf("%d, %d leaving", shard.Slots, shard.Moving)
}

// damageTable tells what has to be rebuilt and where, and on which disks there was damage.
func damageTable(w *tabwriter.Writer, s httpapi.ClusterStatus) {
	for _, n := range s.Nodes {
		if n.Cleared > 0 {
			fmt.Fprintf(w, "\n%s has cleared %d replicas for damage since it started: look at its disk\n", n.ID, n.Cleared)
		}
		if n.MapReason != "" {
			fmt.Fprintf(w, "\nthe map's copy on %s must not run, and waits to be rebuilt: %s\n", n.ID, strings.TrimSpace(n.MapReason))
		}
	}
	for _, shard := range s.Shards {
		for _, r := range shard.Replicas {
			switch {
			case r.Reason != "":
				fmt.Fprintf(w, "\nthe replica of shard %d on %s must not run: %s\n", shard.ID, r.Node, strings.TrimSpace(r.Reason))
			case r.Rebuilding:
				fmt.Fprintf(w, "\nthe replica of shard %d on %s is being rebuilt and does not vote yet\n", shard.ID, r.Node)
			}
		}
	}
}

func mebibytes(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}
