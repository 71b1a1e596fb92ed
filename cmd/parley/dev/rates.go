package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// rates are the figures of the scenario bulk, as its summary has them.
type rates struct {
	LoadSeconds  float64                  `json:"loadSeconds"`  // until the last letter was decided or kept
	TotalSeconds float64                  `json:"totalSeconds"` // until nothing was under way
	Ways         []wayRates               `json:"ways"`
	Nodes        map[string][]consumption `json:"nodes"` // by provider
	Rejected     map[string]int           `json:"rejected"`
	Held         int                      `json:"held"`   // letters that a node's journal held
	Queued       int                      `json:"queued"` // letters that went through the queue of their own provider
	Broken       int                      `json:"broken"`
}

// wayRates are the figures of what goes from the rooms of one hub to one receiver.
type wayRates struct {
	Hub           string  `json:"hub"`
	To            string  `json:"to"`
	Accepted      int     `json:"accepted"` // letters for the receiver
	Messages      int     `json:"messages"` // of these, application messages
	Delivered     int     `json:"delivered"`
	Acknowledged  int     `json:"acknowledged"`
	Twice         int     `json:"twice"`
	AcceptedRate  float64 `json:"acceptedPerSecond"`
	DeliveredRate float64 `json:"deliveredPerSecond"`
	MegabytesRate float64 `json:"deliveredMegabytesPerSecond"`
	MedianMillis  int64   `json:"p50Millis"` // from the hub's acceptance to the backend's reading
	P99Millis     int64   `json:"p99Millis"`
}

// rates reads the figures.
func (x *exchange) rates(findings []finding) rates {
	b := x.book
	b.mu.Lock()
	defer b.mu.Unlock()
	r := rates{LoadSeconds: x.loaded.Seconds(), TotalSeconds: x.taken.Seconds(), Nodes: map[string][]consumption{}, Rejected: map[string]int{}}
	for hub := range b.between {
		for to := range b.between[hub] {
			r.Ways = append(r.Ways, x.way(hub, to, &b.between[hub][to]))
		}
		r.Nodes[x.sides[hub].provider.domain] = x.meter.nodes[hub]
	}
	r.Held, r.Queued = b.kept[receiptHeld], b.kept[receiptQueued]
	for code, n := range b.rejected {
		r.Rejected[code.String()] = n
	}
	for _, f := range findings {
		r.Broken += len(f.broken)
	}
	return r
}

func (x *exchange) way(hub, to int, t *traffic) wayRates {
	load, taken := max(x.loaded.Seconds(), 0.001), max(x.taken.Seconds(), 0.001)
	return wayRates{
		Hub: x.sides[hub].provider.domain, To: x.sides[to].provider.domain,
		Accepted: t.accepted, Messages: t.messages, Delivered: t.delivered, Acknowledged: t.acknowledged, Twice: t.twice,
		AcceptedRate: float64(t.accepted) / load, DeliveredRate: float64(t.delivered) / taken,
		MegabytesRate: float64(t.deliveredBytes) / 1e6 / taken,
		MedianMillis:  t.all.percentile(50).Milliseconds(), P99Millis: t.all.percentile(99).Milliseconds(),
	}
}

// report prints the figures and the account, leaves the summary, and judges.
func (x *exchange) report(out, summary io.Writer) error {
	findings := x.book.judge()
	r := x.rates(findings)
	if err := errors.Join(r.print(out), x.meter.print(out, x.sides)); err != nil {
		return err
	}
	if summary != nil {
		encoder := json.NewEncoder(summary)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	if err := printFindings(out, findings); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\nNothing lost, nothing out of order, nothing unexplained.")
	return err
}

func (r rates) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nhub\tto\taccepted\tdelivered\tacknowledged\ttwice\taccepted/s\tdelivered/s\tMB/s\tp50\tp99\t")
	for _, w := range r.Ways {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%.1f\t%s\t%s\t\n", w.Hub, w.To, w.Accepted, w.Delivered, w.Acknowledged, w.Twice,
			w.AcceptedRate, w.DeliveredRate, w.MegabytesRate, time.Duration(w.MedianMillis)*time.Millisecond, time.Duration(w.P99Millis)*time.Millisecond)
	}
	return table.Flush()
}

func (m *meter) print(out io.Writer, sides [2]*side) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nprovider\tnode\tleads shards\tprocessor\tshare\t")
	for i, s := range sides {
		for _, c := range m.nodes[i] {
			fmt.Fprintf(table, "%s\t%s\t%d\t%.1f s\t%.0f %%\t\n", s.provider.domain, c.Node, c.Leads, c.Seconds, 100*c.Share)
		}
	}
	return table.Flush()
}
