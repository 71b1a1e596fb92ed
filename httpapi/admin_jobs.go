package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/mls"
)

// JobAdmin is what the admin listener asks of jobs.
type JobAdmin interface {
	// Jobs are all that are kept, the oldest first.
	Jobs(ctx context.Context) ([]JobEntry, error)
	// Job is one of them; the error is a *NotFoundError where there is none, or none any more.
	Job(ctx context.Context, id uint64) (JobEntry, error)
	// SteerJob cancels, pauses or resumes a job.
	SteerJob(ctx context.Context, id uint64, wish JobWish) (JobEntry, error)
}

// JobEntry is a long action that somebody asked for.
type JobEntry struct {
	ID         uint64    `json:"id"`
	Kind       string    `json:"kind"`
	By         string    `json:"by"`              // who asked, as he called himself
	State      string    `json:"state"`           // planned, running, paused, cancelling, done, failed, cancelled
	Stale      bool      `json:"stale,omitempty"` // planned, and nothing that fits any more: another plan is to be made
	Text       string    `json:"text"`            // what is going on
	UnitsDone  uint64    `json:"unitsDone"`
	UnitsTotal uint64    `json:"unitsTotal"` // 0: not known
	BytesDone  uint64    `json:"bytesDone"`
	BytesTotal uint64    `json:"bytesTotal"` // 0: not known
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"` // the last change; of the clock that the cluster keeps
	Error      string    `json:"error,omitempty"`
}

// Ended reports whether nothing more comes of the job.
func (j JobEntry) Ended() bool {
	return j.State == JobStateDone || j.State == JobStateFailed || j.State == JobStateCancelled
}

// The states of jobs in which whoever waits has something to say.
const (
	JobStatePlanned   = "planned"
	JobStatePaused    = "paused"
	JobStateDone      = "done"
	JobStateFailed    = "failed"
	JobStateCancelled = "cancelled"
)

// JobWish is what an operator wants of a job.
type JobWish string

// The wishes. Each is the last part of a path.
const (
	JobCancel JobWish = "cancel"
	JobPause  JobWish = "pause"
	JobResume JobWish = "resume"
)

type jobList struct {
	Jobs []JobEntry `json:"jobs"`
}

func (s *AdminServer) listJobs(c echo.Context) error {
	jobs, err := s.admin.Jobs(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, jobList{append([]JobEntry{}, jobs...)})
}

// jobParam reads the job of a path.
func jobParam(c echo.Context) (uint64, error) {
	id, err := strconv.ParseUint(c.Param("id"), 10, 64)
	if err != nil {
		return 0, &mls.MalformedError{Field: "id", Reason: "it is no job's number"}
	}
	return id, nil
}

func (s *AdminServer) showJob(c echo.Context) error {
	id, err := jobParam(c)
	if err != nil {
		return err
	}
	job, err := s.admin.Job(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, job)
}

// steerJob is POST /v1/jobs/{id}/cancel and its like. It may be repeated.
func (s *AdminServer) steerJob(wish JobWish) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := jobParam(c)
		if err != nil {
			return err
		}
		job, err := s.admin.SteerJob(c.Request().Context(), id, wish)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, job)
	}
}
