package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/cluster"
	"parley/fsm/meta"
	"parley/httpapi"
)

func (o *operations) Jobs(context.Context) ([]httpapi.JobEntry, error) {
	jobs, err := o.node.Jobs()
	if err != nil {
		return nil, refusal(err)
	}
	stale := o.node.StalePlans(jobs)
	entries := make([]httpapi.JobEntry, len(jobs))
	for i, j := range jobs {
		entries[i] = shownPlanned(j, stale)
	}
	return entries, nil
}

// shownPlanned is shownJob, and says of a plan that it cannot be applied any more.
func shownPlanned(j meta.Job, stale map[uint64]*cluster.StalePlanError) httpapi.JobEntry {
	entry := shownJob(j)
	if why := stale[j.ID]; why != nil {
		entry.Stale, entry.Text = true, why.Error()+": make another"
	}
	return entry
}

func (o *operations) Job(ctx context.Context, id uint64) (httpapi.JobEntry, error) {
	job, found, err := o.node.FindJob(ctx, id)
	if err == nil && !found {
		err = &httpapi.NotFoundError{What: fmt.Sprintf("job %d", id)}
	}
	if err != nil {
		return httpapi.JobEntry{}, refusal(err)
	}
	return shownPlanned(job, o.node.StalePlans([]meta.Job{job})), nil
}

func (o *operations) SteerJob(ctx context.Context, id uint64, wish httpapi.JobWish) (httpapi.JobEntry, error) {
	if _, err := o.Job(ctx, id); err != nil {
		return httpapi.JobEntry{}, err
	}
	wishes := map[httpapi.JobWish]meta.JobWish{httpapi.JobCancel: meta.WishCancel, httpapi.JobPause: meta.WishPause, httpapi.JobResume: meta.WishGoOn}
	job, err := o.node.SteerJob(ctx, id, wishes[wish])
	if refused := (*cluster.RefusedError)(nil); errors.As(err, &refused) {
		return httpapi.JobEntry{}, &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "the job's state", See: fmt.Sprintf("parley job show %d", id),
			Clear: "nothing; a job that has ended stays as it is",
		}
	}
	return shownJob(job), refusal(err)
}

func shownJob(j meta.Job) httpapi.JobEntry {
	return httpapi.JobEntry{
		ID: j.ID, Kind: j.Kind, By: j.By, State: j.State.String(), Text: j.Text, UnitsDone: j.UnitsDone, UnitsTotal: j.UnitsTotal,
		BytesDone: j.BytesDone, BytesTotal: j.BytesTotal, Created: shownMillis(j.CreatedMillis), Updated: shownMillis(j.UpdatedMillis), Error: j.Error,
	}
}

func (o *operations) Audit(_ context.Context, before uint64, most int) ([]httpapi.AuditEntry, error) {
	entries, err := o.node.Audit(before, most)
	if err != nil {
		return nil, refusal(err)
	}
	shown := make([]httpapi.AuditEntry, len(entries))
	for i, e := range entries {
		shown[i] = httpapi.AuditEntry{
			Sequence: e.Sequence, Time: time.UnixMilli(int64(e.Millis)).UTC(), By: e.By, Verb: e.Verb, What: e.What, Done: e.Done, Came: e.Came,
		}
	}
	return shown, nil
}

func (o *operations) RecordAction(ctx context.Context, failed string) error {
	return o.node.RecordAction(ctx, failed)
}

func (l *lobby) Jobs(ctx context.Context) ([]httpapi.JobEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.JobEntry, error) { return o.Jobs(ctx) })
}

func (l *lobby) Job(ctx context.Context, id uint64) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.Job(ctx, id) })
}

func (l *lobby) SteerJob(ctx context.Context, id uint64, wish httpapi.JobWish) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.SteerJob(ctx, id, wish) })
}

func (l *lobby) Audit(ctx context.Context, before uint64, most int) ([]httpapi.AuditEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.AuditEntry, error) { return o.Audit(ctx, before, most) })
}

// RecordAction records nothing where there is no cluster that would keep it.
func (l *lobby) RecordAction(ctx context.Context, failed string) error {
	o, err := l.operations()
	if err != nil {
		return nil
	}
	return o.RecordAction(ctx, failed)
}
