package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
	"parley/fsm"
	"parley/httpapi"
)

// look is the cluster at a moment, and the asked node's requests until then.
type look struct {
	at       time.Time
	status   httpapi.ClusterStatus
	backlog  httpapi.Backlog
	requests float64
}

// topView is what `parley top` shows: what has happened between two looks.
type topView struct {
	Cluster           string     `json:"cluster"`
	Node              string     `json:"node"` // who was asked
	Seconds           float64    `json:"seconds"`
	RequestsPerSecond float64    `json:"requestsPerSecond"` // at the peer and local listeners of the asked node
	Nodes             []topNode  `json:"nodes"`
	Shards            []topShard `json:"shards"`
	Waiting           []topWaits `json:"waiting"` // by peer, the most first
	Troubles          []string   `json:"troubles"`
}

type topNode struct {
	Node        string `json:"node"`
	State       string `json:"state"`
	Leads       int    `json:"leads"`
	ClockMillis *int64 `json:"clockMillis,omitempty"`
	Held        int    `json:"held"`
}

type topShard struct {
	Shard            fsm.ShardID `json:"shard"`
	Leader           string      `json:"leader"`
	EntriesPerSecond float64     `json:"entriesPerSecond"`
	Index            uint64      `json:"index"`
	LagEntries       uint64      `json:"lagEntries"` // of the replica that is furthest behind
	Lags             string      `json:"lags,omitempty"`
}

type topWaits struct {
	Peer          string  `json:"peer"`
	Items         uint64  `json:"items"`
	OldestSeconds float64 `json:"oldestSeconds"`
	Failing       bool    `json:"failing"`
}

func newTop() *cobra.Command {
	var o operation
	var once bool
	var interval time.Duration
	command := &cobra.Command{
		Use:   "top",
		Short: "Watch leaders, rates, lag and what waits, until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, client := command.Context(), o.client()
			before, err := lookAt(ctx, client)
			if err != nil {
				return coded(err)
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(interval):
				}
				after, err := lookAt(ctx, client)
				if err != nil {
					return coded(err)
				}
				view := between(before, after)
				var page bytes.Buffer
				if err := o.print(&page, view, func(w *tabwriter.Writer) { topTable(w, view) }); err != nil {
					return err
				}
				if !once && !o.json && isTerminal(os.Stdout) {
					page = *bytes.NewBuffer(append([]byte("\x1b[H\x1b[2J"), page.Bytes()...))
				}
				if _, err := page.WriteTo(command.OutOrStdout()); err != nil || once {
					return err
				}
				before = after
			}
		},
	}
	command.Flags().BoolVar(&once, "once", false, "show it once")
	command.Flags().DurationVar(&interval, "interval", 2*time.Second, "time between two looks, over which rates are taken")
	return o.flags(command)
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func lookAt(ctx context.Context, client *adminclient.Client) (l look, err error) {
	if l.status, err = client.Status(ctx); err != nil {
		return l, err
	}
	if l.backlog, err = client.Backlog(ctx); err != nil {
		return l, err
	}
	metrics, err := client.Fetch(ctx, "/metrics")
	l.at, l.requests = time.Now(), requestsIn(string(metrics))
	return l, err
}

// requestsIn sums the requests of the peer and local listeners.
func requestsIn(metrics string) (sum float64) {
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "parley_http_requests_total{") || strings.Contains(line, `listener="admin"`) {
			continue
		}
		if fields := strings.Fields(line); len(fields) > 1 {
			if n, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// between is what has happened from one look to the next.
func between(before, after look) topView {
	seconds := max(after.at.Sub(before.at).Seconds(), 0.001)
	s := after.status
	v := topView{
		Cluster: s.ClusterID, Node: s.Node, Seconds: seconds, RequestsPerSecond: max(after.requests-before.requests, 0) / seconds,
		Nodes: []topNode{}, Shards: []topShard{}, Waiting: []topWaits{}, Troubles: append([]string{}, troubles(s)...),
	}
	for _, n := range s.Nodes {
		one := topNode{Node: n.ID, State: n.State, Leads: n.Leads, ClockMillis: n.ClockOffsetMillis}
		if n.Held != nil {
			one.Held = n.Held.Items
		}
		v.Nodes = append(v.Nodes, one)
	}
	was := make(map[fsm.ShardID]uint64)
	for _, shard := range before.status.Shards {
		was[shard.ID], _, _ = progress(shard)
	}
	for _, shard := range s.Shards {
		if len(shard.Replicas) == 0 {
			continue // it is retired
		}
		index, lag, who := progress(shard)
		one := topShard{Shard: shard.ID, Leader: shard.Leader, Index: index, LagEntries: lag, Lags: who}
		if from, known := was[shard.ID]; known && index > from {
			one.EntriesPerSecond = float64(index-from) / seconds
		}
		v.Shards = append(v.Shards, one)
	}
	for _, p := range after.backlog.Peers {
		one := topWaits{Peer: p.Destination.String(), Items: p.Items, Failing: slices.ContainsFunc(p.Lanes, func(l httpapi.DeliveryLane) bool { return !l.FailingSince.IsZero() })}
		if !p.Oldest.IsZero() {
			one.OldestSeconds = max(after.at.Sub(p.Oldest).Seconds(), 0)
		}
		if one.Items > 0 || one.Failing {
			v.Waiting = append(v.Waiting, one)
		}
	}
	slices.SortStableFunc(v.Waiting, func(a, b topWaits) int { return int(int64(b.Items) - int64(a.Items)) })
	return v
}

// progress is how far a shard is, and which of its running replicas is how far behind that.
func progress(shard httpapi.ShardStatus) (index, lag uint64, who string) {
	for _, r := range shard.Replicas {
		index = max(index, r.Applied)
	}
	for _, r := range shard.Replicas {
		if r.Running && index-r.Applied > lag {
			lag, who = index-r.Applied, r.Node
		}
	}
	return index, lag, who
}

func topTable(w *tabwriter.Writer, v topView) {
	verdict := "all is well"
	if len(v.Troubles) > 0 {
		verdict = strings.Join(v.Troubles, "; ")
	}
	fmt.Fprintf(w, "cluster %s, %s: %s\n%s answers %.0f requests/s\n\n", v.Cluster, time.Now().Format(time.TimeOnly), verdict, v.Node, v.RequestsPerSecond)
	fmt.Fprintln(w, "NODE\tSTATE\tLEADS\tCLOCK\tHELD")
	for _, n := range v.Nodes {
		clock := "unknown"
		if n.ClockMillis != nil {
			clock = fmt.Sprintf("%+d ms", *n.ClockMillis)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\n", n.Node, n.State, n.Leads, clock, n.Held)
	}
	fmt.Fprintln(w, "\nSHARD\tLEADER\tENTRIES/S\tINDEX\tBEHIND")
	for _, s := range v.Shards {
		behind := "-"
		if s.LagEntries > 0 {
			behind = fmt.Sprintf("%s by %d", s.Lags, s.LagEntries)
		}
		fmt.Fprintf(w, "%d\t%s\t%.1f\t%d\t%s\n", s.Shard, orNone(s.Leader), s.EntriesPerSecond, s.Index, behind)
	}
	if len(v.Waiting) > 0 {
		fmt.Fprintln(w, "\nWAITS FOR\tITEMS\tOLDEST\tDELIVERY")
		for _, p := range v.Waiting {
			delivery := "goes on"
			if p.Failing {
				delivery = "FAILS: 'parley peer backlog'"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.Peer, p.Items, (time.Duration(p.OldestSeconds) * time.Second).String(), delivery)
		}
	}
}

// troubles are what an operator should look at first, in words; none where all is well.
func troubles(s httpapi.ClusterStatus) (found []string) {
	if s.Removed != "" {
		return []string{s.Removed}
	}
	if s.MetaLeader == "" {
		found = append(found, "the meta group has no leader")
	}
	for _, n := range s.Nodes {
		if n.State == "unreachable" {
			found = append(found, n.ID+" does not answer")
		}
		if n.MapReason != "" {
			found = append(found, n.ID+" must not run its copy of the map")
		}
	}
	for _, shard := range s.Shards {
		if len(shard.Replicas) == 0 {
			continue // retired
		}
		running := 0
		for _, r := range shard.Replicas {
			if r.Running && r.Voter {
				running++
			}
		}
		switch {
		case shard.Leader == "":
			found = append(found, fmt.Sprintf("shard %d has no leader", shard.ID))
		case running < len(shard.Replicas):
			found = append(found, fmt.Sprintf("shard %d has %d of %d replicas", shard.ID, running, len(shard.Replicas)))
		}
	}
	return found
}
