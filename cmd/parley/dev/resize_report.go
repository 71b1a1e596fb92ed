package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// resizeFigures are those of the scenario resize, as its summary has them.
type resizeFigures struct {
	Stages []stageFigures `json:"stages"`
	Bulk   rates          `json:"bulk"`
	Broken int            `json:"broken"`
}

// stageFigures say what one step took, and what it cost those who wanted something that can be had once.
type stageFigures struct {
	Step          string `json:"step"`
	Millis        int64  `json:"millis"`
	Probes        int    `json:"probes"`
	MedianMillis  int64  `json:"p50Millis"`
	P99Millis     int64  `json:"p99Millis"`
	LongestMillis int64  `json:"longestMillis"` // that a room could not have anything decided
	Room          string `json:"room"`
	AfterMillis   int64  `json:"afterMillis"` // the beginning of the step, when that began
}

func (s stage) figures() stageFigures {
	return stageFigures{
		Step: s.text, Millis: s.ended.Sub(s.began).Milliseconds(), Probes: s.probes,
		MedianMillis: s.latencies.percentile(50).Milliseconds(), P99Millis: s.latencies.percentile(99).Milliseconds(),
		LongestMillis: s.longest.Milliseconds(), Room: s.longestIn, AfterMillis: s.longestAgo.Milliseconds(),
	}
}

// last says what the stage that lasts has cost so far.
func (s *stages) last() string {
	all := s.seen()
	if len(all) == 0 {
		return ""
	}
	f := all[len(all)-1].figures()
	return fmt.Sprintf("%d probes, p50 %d ms, p99 %d ms, longest %d ms", f.Probes, f.MedianMillis, f.P99Millis, f.LongestMillis)
}

// report prints what each step took and cost, the rates and both accounts, leaves the summary, and judges.
func (s *resizing) report(out, summary io.Writer) error {
	verdict := judgeAnswers(s.contest.answers, s.contest.arenas, s.contest.inbox)
	findings := inOneAccount(verdict.findings(), s.exchange.book.judge())
	figures := resizeFigures{Bulk: s.exchange.rates(findings)}
	figures.Broken = figures.Bulk.Broken
	for _, one := range s.stages.seen() {
		figures.Stages = append(figures.Stages, one.figures())
	}
	wrong := []error{figures.Bulk.print(out), s.exchange.meter.print(out, s.exchange.sides), figures.print(out)}
	if summary != nil {
		encoder := json.NewEncoder(summary)
		encoder.SetIndent("", "  ")
		wrong = append(wrong, encoder.Encode(figures))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	if err := printFindings(out, findings); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\nThe cluster has changed its size and is what it was: nothing lost, nothing twice, nothing out of order.")
	return err
}

// inOneAccount puts what may never happen first, and then all else that both accounts have looked at.
func inOneAccount(contest, exchange []finding) []finding {
	return slices.Concat(
		[]finding{contest[promiseEpoch], contest[promiseKeyPackage], contest[promiseLease], exchange[promiseDelivered], exchange[promiseOrder]},
		[]finding{contest[promiseDelivery], contest[promiseRetry]}, exchange[promiseVerdict:],
	)
}

func (f resizeFigures) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nstep\ttook\tprobes\tp50\tp99\tlongest undecided\tin\tafter")
	for _, s := range f.Stages {
		millis := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", s.Step, millis(s.Millis).Round(100*time.Millisecond), s.Probes,
			millis(s.MedianMillis), millis(s.P99Millis), millis(s.LongestMillis), s.Room, millis(s.AfterMillis).Round(100*time.Millisecond))
	}
	return table.Flush()
}
