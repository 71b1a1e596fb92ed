package meta

import (
	"fmt"

	"parley/fsm"
)

// Limits of jobs. They are protocol constants, as those of the map are.
const (
	JobsMax         = 256       // that are kept, ended ones too
	JobsLiveMax     = 64        // that have not ended, plans that nobody applied aside
	JobSpecBytesMax = 256 << 10 // of what a job is to do
	JobTextBytesMax = 4096      // of what it says of itself, and of its error
	JobKeyBytesMax  = 64
)

// JobState is how far a job is. Numbers are append-only.
type JobState uint8

const (
	JobPlanned    JobState = 1 // shown, and begun by nobody yet
	JobRunning    JobState = 2
	JobPaused     JobState = 3 // by an operator; nothing is done until one lets it go on
	JobCancelling JobState = 4 // what was begun is brought to an end, and no more is begun
	JobDone       JobState = 5
	JobFailed     JobState = 6
	JobCancelled  JobState = 7
)

var jobStateNames = [...]string{
	JobPlanned: "planned", JobRunning: "running", JobPaused: "paused", JobCancelling: "cancelling",
	JobDone: "done", JobFailed: "failed", JobCancelled: "cancelled",
}

func (s JobState) String() string {
	if s >= JobPlanned && int(s) < len(jobStateNames) {
		return jobStateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Ended reports whether nothing more comes of a job.
func (s JobState) Ended() bool { return s >= JobDone }

// Live reports whether a job was begun and has not ended.
func (s JobState) Live() bool { return s == JobRunning || s == JobPaused || s == JobCancelling }

// Job is a long action that an operator asked for. It is carried out from outside the state machine, which keeps what it is to do and
// how far it is.
type Job struct {
	ID   uint64 // the map's version that brought it: unique and rising
	Kind string // who carries it out, such as "rebalance"; a name as those of nodes are
	// Area is what no other live job may be about at the same time, such as "placement"; a name, or empty: any may run beside it.
	Area     string
	Spec     []byte // what is to be done, in a form of its kind
	Key      string // of who asked: the same again is the same job, also after it has ended
	By       string // who asked, as he called himself; at most HoldTextBytesMax
	State    JobState
	Revision uint64 // rises with every change of the job
	JobProgress
	CreatedMillis uint64 // the meta group's time, since 1970
	UpdatedMillis uint64 // likewise
	Error         string // why it failed; empty otherwise
}

// JobProgress is how far a job is, as whoever carries it out says.
type JobProgress struct {
	Step                  uint64 // how far, counted as its kind likes; for who goes on with it
	Text                  string // what is going on, for people
	UnitsDone, UnitsTotal uint64 // of steps, shards, rooms, whatever it counts; a total of 0 is not known
	BytesDone, BytesTotal uint64 // likewise
}

// PutJob begins a job, or keeps a plan of one. Where there is a job of the same key, or a live one of the same kind that does the same, or
// such a plan where a plan is wanted, that is it and nothing changes. It is of fsm.FormatResize, as all commands of jobs are.
type PutJob struct {
	Kind, Area string
	Spec       []byte
	Key        string // not empty
	By         string
	Planned    bool // it waits for SteerJob
	Stamp      uint64
}

// ReportJob says how far a job is. It is refused where the job is not of this revision any more: somebody else has changed it meanwhile,
// and whoever reports has to look what they wanted.
type ReportJob struct {
	ID       uint64
	Revision uint64
	Progress JobProgress
	Stamp    uint64
}

// JobWish is what an operator wants of a job. Numbers are append-only.
type JobWish uint8

const (
	WishCancel JobWish = 1 // bring it to an end
	WishPause  JobWish = 2
	WishGoOn   JobWish = 3 // after a pause
	WishBegin  JobWish = 4 // a planned one
)

func (w JobWish) String() string {
	switch w {
	case WishCancel:
		return "cancel"
	case WishPause:
		return "pause"
	case WishGoOn:
		return "resume"
	case WishBegin:
		return "apply"
	default:
		return fmt.Sprintf("wish %d", uint8(w))
	}
}

// SteerJob makes a wish of a job. What is so already changes nothing.
type SteerJob struct {
	ID    uint64
	Wish  JobWish
	Stamp uint64
}

// EndJob says what became of a job. It is refused where the job is not of this revision any more, as ReportJob is; the same again changes
// nothing.
type EndJob struct {
	ID       uint64
	Revision uint64
	State    JobState // JobDone, JobFailed or JobCancelled
	Error    string   // of JobFailed
	Progress JobProgress
	Stamp    uint64
}

func (PutJob) kind() commandKind    { return kindPutJob }
func (ReportJob) kind() commandKind { return kindReportJob }
func (SteerJob) kind() commandKind  { return kindSteerJob }
func (EndJob) kind() commandKind    { return kindEndJob }

// WithStamp implements Stamped.
func (c PutJob) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c ReportJob) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c SteerJob) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c EndJob) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// ReadJobs reads all jobs, the oldest first. They are not of the Map, which all commands and all nodes read again and again.
func ReadJobs(r fsm.Reader) ([]Job, error) { return readAll(r, keyJob, "job", readJob) }

// ReadJob reads one; found is false where there is none, or none any more.
func ReadJob(r fsm.Reader, id uint64) (job Job, found bool, err error) {
	return readOne(r, jobKey(id), "job", readJob)
}
