package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// waiting is what commands that begin a job have in common: they wait for its end, unless they are told not to.
type waiting struct {
	operation
	detach  bool
	wait    bool
	timeout time.Duration
	poll    time.Duration // between looks; 0: half a second
}

const pollInterval = 500 * time.Millisecond

func (w *waiting) flags(command *cobra.Command) *cobra.Command {
	command.Flags().BoolVar(&w.wait, "wait", true, "wait until the job has ended, and show how far it is")
	command.Flags().BoolVar(&w.detach, "detach", false, "begin the job and return; 'parley job wait' waits for it later")
	command.Flags().DurationVar(&w.timeout, "timeout", 0, "stop waiting after so long, with exit code 4; the job goes on (0: never)")
	command.MarkFlagsMutuallyExclusive("wait", "detach")
	return w.operation.flags(command)
}

// follow waits for a job that was begun, or says only that it was. Its exit codes: 0 it is done, 1 it failed or was cancelled, 4 it goes on.
func (w *waiting) follow(command *cobra.Command, job httpapi.JobEntry) error {
	out, progress := command.OutOrStdout(), command.ErrOrStderr()
	if w.detach || !w.wait {
		return w.print(out, job, func(t *tabwriter.Writer) {
			fmt.Fprintf(t, "job %d (%s) has begun\n  to see it    parley job show %d\n  to wait      parley job wait %d\n  to cancel    parley job cancel %d\n",
				job.ID, job.Kind, job.ID, job.ID, job.ID)
		})
	}
	ctx := command.Context()
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	bar := newBar(progress)
	defer bar.close()
	client := w.client()
	var failure *adminclient.Error
	for !job.Ended() {
		bar.show(job, time.Now())
		if err := rest(ctx, w.pollInterval()); err != nil {
			bar.close()
			return w.goesOn(job, err)
		}
		now, err := client.Job(ctx, job.ID)
		switch {
		case err == nil:
			job = now
		case ctx.Err() != nil: // the next rest says so
		case errors.As(err, &failure) && failure.Type == httpapi.ProblemTypeRemoved:
			bar.close()
			return w.goesOn(job, failure)
		case passes(err):
			bar.note(fmt.Sprintf("the node at %s does not tell; the job goes on (%v)", client.Address(), err), time.Now())
		default:
			return coded(err)
		}
	}
	bar.show(job, time.Now())
	bar.close()
	if err := w.print(out, job, func(t *tabwriter.Writer) { fmt.Fprintf(t, "job %d (%s) is %s\n", job.ID, job.Kind, job.State) }); err != nil {
		return err
	}
	if job.State != httpapi.JobStateDone {
		return &codedError{exitError, fmt.Errorf("job %d (%s) is %s%s", job.ID, job.Kind, job.State, because(job.Error))}
	}
	return nil
}

func (w *waiting) pollInterval() time.Duration {
	if w.poll > 0 {
		return w.poll
	}
	return pollInterval
}

// goesOn is for who stops waiting: what he began does not stop with him.
func (w *waiting) goesOn(job httpapi.JobEntry, cause error) error {
	why, failure := "the waiting was interrupted", (*adminclient.Error)(nil)
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		why = "it has not ended in " + w.timeout.String()
	case errors.As(cause, &failure):
		why = failure.Error() + "\nthe waiting has ended here"
	}
	return &codedError{exitStillRuns, fmt.Errorf("%s; job %d (%s) goes on\n  to see it    parley job show %d\n  to wait      parley job wait %d\n  to cancel    parley job cancel %d",
		why, job.ID, job.Kind, job.ID, job.ID, job.ID)}
}

// passes reports whether a node may well answer when it is asked again: it restarts, or its part of the cluster has no leader for now.
func passes(err error) bool {
	var failure *adminclient.Error
	return !errors.As(err, &failure) || failure.Status >= http.StatusInternalServerError || failure.Status == http.StatusTooManyRequests
}

// rest waits, and returns the context's error where that ends before.
func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// bar draws how far a job is: on a terminal in one line again and again, elsewhere a line now and then.
type bar struct {
	out      io.Writer
	terminal bool
	drawn    bool   // a line that is not ended yet
	last     string // that was written
	lastAt   time.Time
	pace     pace
}

// lineInterval is how often a log gets a line at most.
const lineInterval = 5 * time.Second

func newBar(out io.Writer) *bar {
	b := &bar{out: out}
	if file, is := out.(*os.File); is {
		info, err := file.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *bar) show(job httpapi.JobEntry, now time.Time) {
	b.pace.note(job.BytesDone, now)
	b.write(barText(job, &b.pace), now, job.Ended())
}

func (b *bar) note(text string, now time.Time) { b.write(text, now, false) }

func (b *bar) write(text string, now time.Time, final bool) {
	switch {
	case b.terminal:
		fmt.Fprintf(b.out, "\r\x1b[K%s", text)
		b.drawn = true
	case text != b.last && (final || now.Sub(b.lastAt) >= lineInterval):
		fmt.Fprintln(b.out, text)
		b.last, b.lastAt = text, now
	}
}

func (b *bar) close() {
	if b.drawn {
		fmt.Fprintln(b.out)
		b.drawn = false
	}
}

const barCells = 24

// barText is one line about a job.
func barText(job httpapi.JobEntry, p *pace) string {
	var parts []string
	if share, known := shareDone(job); known {
		full := int(share * barCells)
		parts = append(parts, fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barCells-full), int(100*share)))
	}
	if job.UnitsTotal > 0 {
		parts = append(parts, fmt.Sprintf("%d/%d", job.UnitsDone, job.UnitsTotal))
	}
	if job.BytesTotal > 0 {
		parts = append(parts, bytesText(job.BytesDone)+" of "+bytesText(job.BytesTotal))
		if rate := p.rate(); rate > 0 && !job.Ended() {
			parts = append(parts, bytesText(uint64(rate))+"/s")
			if job.BytesTotal > job.BytesDone {
				left := time.Duration(float64(job.BytesTotal-job.BytesDone) / rate * float64(time.Second))
				parts = append(parts, "ETA "+left.Round(time.Second).String())
			}
		}
	}
	parts = append(parts, job.State)
	if job.Text != "" {
		parts = append(parts, job.Text)
	}
	return fmt.Sprintf("job %d  %s", job.ID, strings.Join(parts, "  "))
}

// shareDone is by bytes where they are known, else by units.
func shareDone(job httpapi.JobEntry) (float64, bool) {
	switch {
	case job.State == httpapi.JobStateDone:
		return 1, true
	case job.BytesTotal > 0:
		return min(1, float64(job.BytesDone)/float64(job.BytesTotal)), true
	case job.UnitsTotal > 0:
		return min(1, float64(job.UnitsDone)/float64(job.UnitsTotal)), true
	default:
		return 0, false
	}
}

// pace is how fast bytes go, over the last paceSpan.
type pace struct{ samples []paceSample }

type paceSample struct {
	bytes uint64
	at    time.Time
}

const paceSpan = 15 * time.Second

func (p *pace) note(bytes uint64, now time.Time) {
	if n := len(p.samples); n > 0 && bytes < p.samples[n-1].bytes {
		p.samples = nil // it began anew somewhere
	}
	p.samples = append(p.samples, paceSample{bytes, now})
	for len(p.samples) > 2 && now.Sub(p.samples[0].at) > paceSpan {
		p.samples = p.samples[1:]
	}
}

// rate is in bytes a second; 0 where it is not known.
func (p *pace) rate() float64 {
	if len(p.samples) < 2 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(last.bytes-first.bytes) / span
}

// bytesText is a number of bytes for people.
func bytesText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
