package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

// stepsShown is how many steps of a plan a table lists.
const stepsShown = 12

// planTable tells what a plan comes to.
func planTable(w *tabwriter.Writer, p httpapi.PlanEntry, all bool) {
	if len(p.Steps) == 0 {
		fmt.Fprintf(w, "nothing has to be done (map version %d)\n", p.MapVersion)
		balanceTable(w, p)
		return
	}
	fmt.Fprintf(w, "plan %d (%s), %s, for map version %d\n", p.ID, p.Kind, p.State, p.MapVersion)
	fmt.Fprintf(w, "%s; about %s over the network, %s at the rate that is allowed\n", kindsText(p.Steps), bytesText(p.Bytes),
		(time.Duration(p.Seconds) * time.Second).String())
	if p.Survives {
		fmt.Fprintln(w, "one more node may fail at any time of it, and every shard goes on")
	} else {
		fmt.Fprintf(w, "IF ONE MORE NODE FAILS, shards stop that have too few replicas which answer, now or on the way: %s\n", numbersText(p.Weak))
	}
	fmt.Fprintln(w)
	for i, s := range p.Steps {
		if i == stepsShown && !all && len(p.Steps) > stepsShown+1 {
			fmt.Fprintf(w, "  and %d more (--steps lists all)\n", len(p.Steps)-i)
			break
		}
		done := ""
		if s.Done {
			done = "done"
		}
		fmt.Fprintf(w, "  %d\t%s\t%s\t%s\n", i+1, s.Text, bytesText(s.Bytes), done)
	}
	fmt.Fprintln(w)
	balanceTable(w, p)
}

func kindsText(steps []httpapi.PlanStep) string {
	names := []struct{ kind, one, many string }{
		{"drain-node", "node is drained", "nodes are drained"}, {"add-replica", "replica more", "replicas more"},
		{"open-shard", "shard is opened", "shards are opened"}, {"move-slots", "batch of slots moves", "batches of slots move"},
		{"retire-shard", "shard is retired", "shards are retired"}, {"move-replica", "replica moves", "replicas move"},
		{"remove-replica", "replica fewer", "replicas fewer"}, {"move-lead", "lead moves", "leads move"},
		{"leave-node", "node leaves", "nodes leave"}, {"set-replication", "change of the number of replicas", "changes of the number of replicas"},
	}
	counts := make(map[string]int)
	for _, s := range steps {
		counts[s.Kind]++
	}
	var parts []string
	for _, n := range names {
		switch count := counts[n.kind]; {
		case count == 1:
			parts = append(parts, "1 "+n.one)
		case count > 1:
			parts = append(parts, fmt.Sprintf("%d %s", count, n.many))
		}
	}
	return strings.Join(parts, ", ")
}

func numbersText[T ~uint32](numbers []T) string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, fmt.Sprint(n))
	}
	return strings.Join(texts, " ")
}

// balanceTable is what each node has, now and behind the plan.
func balanceTable(w *tabwriter.Writer, p httpapi.PlanEntry) {
	before := make(map[string]httpapi.PlanNode)
	for _, n := range p.Before.Nodes {
		before[n.Node] = n
	}
	fmt.Fprintln(w, "NODE\tZONE\tREPLICAS\tLEADS\tBYTES")
	listed := make(map[string]bool)
	line := func(was, is httpapi.PlanNode, name, zone string) {
		if zone == "" {
			zone = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, zone, change(fmt.Sprint(was.Replicas), fmt.Sprint(is.Replicas)),
			change(fmt.Sprint(was.Leads), fmt.Sprint(is.Leads)), change(bytesText(was.Bytes), bytesText(is.Bytes)))
		listed[name] = true
	}
	for _, n := range p.After.Nodes {
		line(before[n.Node], n, n.Node, n.Zone)
	}
	for _, n := range p.Before.Nodes {
		if !listed[n.Node] {
			line(n, httpapi.PlanNode{}, n.Node, n.Zone)
		}
	}
	fmt.Fprintf(w, "\nshards\t%s\nslots a shard\t%s\nabove the average: a shard's bytes\t%s\na node's bytes\t%s\na node's replicas\t%s\na node's leads\t%s\n",
		change(fmt.Sprint(p.Before.Shards), fmt.Sprint(p.After.Shards)),
		change(rangeText(p.Before.SlotsLow, p.Before.SlotsHigh), rangeText(p.After.SlotsLow, p.After.SlotsHigh)),
		change(percent(p.Before.ShardBytesSpread), percent(p.After.ShardBytesSpread)), change(percent(p.Before.NodeBytesSpread), percent(p.After.NodeBytesSpread)),
		change(percent(p.Before.NodeReplicasSpread), percent(p.After.NodeReplicasSpread)), change(percent(p.Before.NodeLeadsSpread), percent(p.After.NodeLeadsSpread)))
	if p.Before.CrowdedShards > 0 || p.After.CrowdedShards > 0 {
		fmt.Fprintf(w, "shards that crowd a zone\t%s\n", change(fmt.Sprint(p.Before.CrowdedShards), fmt.Sprint(p.After.CrowdedShards)))
	}
}

func change(was, is string) string {
	if was == is {
		return is
	}
	return was + " -> " + is
}

func percent(n int) string { return fmt.Sprintf("+%d%%", n) }

func rangeText(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// errNotAgreed ends a command that asked and was not told yes.
var errNotAgreed = errors.New("nothing was begun")

// agreed asks on a terminal whether to go on. Where there is none, --yes has to say it.
func agreed(command *cobra.Command, question string) error {
	in := command.InOrStdin()
	if file, is := in.(*os.File); is {
		if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return &codedError{exitUnsafe, fmt.Errorf("%w: this moves data, and nobody is there to ask; say --yes", errNotAgreed)}
		}
	}
	fmt.Fprintf(command.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return &codedError{exitError, errNotAgreed}
	}
	return nil
}
