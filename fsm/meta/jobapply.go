package meta

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"parley/fsm"
)

// The rules of jobs. Beside the map's version, which rises with what is asked for alone, each job has a revision of its own: how far a job
// is says nothing of the cluster, and who waits for the cluster to change is not woken for it.

// resizeFault refuses what a node of an older program would not know.
func (t *tx) resizeFault() Outcome {
	if t.m.settings.Format < fsm.FormatResize {
		return refuse("the cluster has to be raised to format %d first", fsm.FormatResize)
	}
	return nil
}

func (t *tx) jobs() []Job {
	jobs, err := ReadJobs(t.store)
	if err != nil && t.err == nil {
		t.err = err
	}
	return jobs
}

func (c PutJob) apply(t *tx) Outcome {
	if fault := cmp.Or(t.resizeFault(), c.fault()); fault != nil {
		return fault
	}
	jobs := t.jobs()
	if slices.ContainsFunc(jobs, c.is) {
		return t.unchanged()
	}
	if fault := c.inTheWay(jobs); fault != nil {
		return fault
	}
	if len(jobs) >= JobsMax {
		oldest := slices.IndexFunc(jobs, func(j Job) bool { return j.State.Ended() })
		if oldest < 0 {
			oldest = slices.IndexFunc(jobs, func(j Job) bool { return j.State == JobPlanned })
		}
		t.delete(jobKey(jobs[oldest].ID)) // there are fewer live ones than that
	}
	job := Job{ID: t.next(), Kind: c.Kind, Area: c.Area, Spec: c.Spec, Key: c.Key, By: c.By, State: JobRunning, CreatedMillis: t.now(c.Stamp)}
	if c.Planned {
		job.State = JobPlanned
	}
	t.putJob(job, c.Stamp)
	return t.changed()
}

// fault says what is wrong with what is asked for; nil where nothing is.
func (c PutJob) fault() Outcome {
	if reason := nameFault(c.Kind); reason != "" {
		return refuse("the kind of the job %s", reason)
	}
	if reason := nameFault(c.Area); c.Area != "" && reason != "" {
		return refuse("the area of the job %s", reason)
	}
	switch {
	case c.Key == "" || len(c.Key) > JobKeyBytesMax:
		return refuse("the job's key is empty or longer than %d bytes", JobKeyBytesMax)
	case len(c.Spec) > JobSpecBytesMax:
		return refuse("what the job is to do is longer than %d bytes", JobSpecBytesMax)
	case len(c.By) > HoldTextBytesMax:
		return refuse("who asks must be at most %d bytes", HoldTextBytesMax)
	}
	return nil
}

// is reports whether a job is the one that is asked for.
func (c PutJob) is(j Job) bool {
	wanted := j.State.Live() && !c.Planned || j.State == JobPlanned && c.Planned
	return j.Key == c.Key || wanted && j.Kind == c.Kind && j.Area == c.Area && bytes.Equal(j.Spec, c.Spec)
}

func (c PutJob) inTheWay(jobs []Job) Outcome {
	if c.Planned {
		return nil
	}
	return inTheWay(jobs, c.Area)
}

// inTheWay refuses a job of an area in which another is live, and one too many.
func inTheWay(jobs []Job, area string) Outcome {
	live := 0
	for _, j := range jobs {
		if !j.State.Live() {
			continue
		}
		if live++; area != "" && j.Area == area {
			return refuse("job %d (%s) is %s, and "+onlyOneJob+"%s", j.ID, j.Kind, j.State, area)
		}
	}
	if live >= JobsLiveMax {
		return refuse("there are %d jobs that have not ended", live)
	}
	return nil
}

// putJob writes a job that has changed.
func (t *tx) putJob(j Job, stamp uint64) {
	j.Revision++
	j.UpdatedMillis = t.now(stamp)
	t.set(jobKey(j.ID), j.appendTo)
	t.keepTime(stamp)
}

func (t *tx) job(id uint64) (Job, bool) {
	j, found, err := ReadJob(t.store, id)
	if err != nil && t.err == nil {
		t.err = err
	}
	return j, found
}

// besideMap is the answer to a command that changed what is not of the map.
func (t *tx) besideMap() Outcome { return Done{t.m.version} }

func (c ReportJob) apply(t *tx) Outcome {
	j, found := t.job(c.ID)
	switch {
	case !found:
		return refuse("there is no job %d", c.ID)
	case !j.State.Live():
		return refuse("job %d is %s", c.ID, j.State)
	case len(c.Progress.Text) > JobTextBytesMax:
		return refuse("what the job says of itself is longer than %d bytes", JobTextBytesMax)
	case j.JobProgress == c.Progress: // a retry, or nothing new
		return t.unchanged()
	case j.Revision != c.Revision:
		return refuse("job %d is of revision %d by now, and the report of revision %d", c.ID, j.Revision, c.Revision)
	}
	j.JobProgress = c.Progress
	t.putJob(j, c.Stamp)
	return t.besideMap()
}

func (c SteerJob) apply(t *tx) Outcome {
	j, found := t.job(c.ID)
	if !found {
		return refuse("there is no job %d", c.ID)
	}
	to, fault := c.next(j)
	switch {
	case fault != nil:
		return fault
	case to == j.State:
		return t.unchanged()
	}
	if c.Wish == WishBegin {
		if fault := inTheWay(t.jobs(), j.Area); fault != nil {
			return fault
		}
	}
	j.State = to
	t.putJob(j, c.Stamp)
	return t.besideMap()
}

// next is the state that a wish brings a job to.
func (c SteerJob) next(j Job) (JobState, Outcome) {
	switch {
	case c.Wish == WishCancel && (j.State == JobCancelling || j.State == JobCancelled):
		return j.State, nil
	case c.Wish == WishCancel && j.State == JobPlanned:
		return JobCancelled, nil
	case c.Wish == WishCancel && j.State.Live():
		return JobCancelling, nil
	case c.Wish == WishPause && (j.State == JobRunning || j.State == JobPaused):
		return JobPaused, nil
	case c.Wish == WishGoOn && (j.State == JobRunning || j.State == JobPaused):
		return JobRunning, nil
	case c.Wish == WishBegin && j.State == JobPlanned:
		return JobRunning, nil
	case c.Wish == WishBegin && (j.State.Live() || j.State == JobDone):
		return j.State, nil // it was begun: the answer to that may have been lost
	case c.Wish < WishCancel || c.Wish > WishBegin:
		return 0, refuse("the wish %d is not known", c.Wish)
	default:
		return 0, refuse("job %d is %s", c.ID, j.State)
	}
}

func (c EndJob) apply(t *tx) Outcome {
	j, found := t.job(c.ID)
	switch {
	case !found:
		return refuse("there is no job %d", c.ID)
	case !c.State.Ended() || int(c.State) >= len(jobStateNames):
		return refuse("a job does not end as %s", c.State)
	case j.State == c.State: // a retry
		return t.unchanged()
	case j.State.Ended():
		return refuse("job %d is %s", c.ID, j.State)
	case j.Revision != c.Revision:
		return refuse("job %d is of revision %d by now, and its end of revision %d", c.ID, j.Revision, c.Revision)
	case len(c.Progress.Text) > JobTextBytesMax || len(c.Error) > JobTextBytesMax:
		return refuse("what the job says of itself is longer than %d bytes", JobTextBytesMax)
	}
	j.State, j.Error, j.JobProgress = c.State, c.Error, c.Progress
	t.putJob(j, c.Stamp)
	return t.besideMap()
}

// onlyOneJob is how the refusal of a job goes on while another has its area.
const onlyOneJob = "only one job at a time may change the "

// JobInTheWay reports whether a refusal is that of a job whose area another job has.
func JobInTheWay(reason string) bool { return strings.Contains(reason, onlyOneJob) }
