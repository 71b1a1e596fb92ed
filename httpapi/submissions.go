package httpapi

import (
	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// answerSubmissions tells what became of submissions for a room hosted here.
func (d *Desk) answerSubmissions(c echo.Context, limit int64, from submitter) error {
	body, err := readBody(c, limit)
	if err != nil {
		return err
	}
	asked, err := mimi.ParseSubmissionsRequest(body)
	if err != nil {
		return err
	}
	if from.local && !d.isOurs(asked.Room.Provider()) {
		return d.answerQueued(c, asked)
	}
	if err := d.checkHosted(asked.Room); err != nil {
		return err
	}
	request, err := judge.NewSubmissions(from.domains, asked.Room, asked.Receipts)
	if err != nil {
		return err
	}
	outcome, err := d.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	read, ok := outcome.(fsm.SubmissionsRead)
	if !ok {
		return unexpected("a question for submissions", outcome)
	}
	known := make(map[mimi.Receipt]mimi.Verdict, len(read.Verdicts))
	for _, v := range read.Verdicts {
		known[v.Receipt] = v
	}
	response := mimi.BulkSubmitResponse{Answers: make([]mimi.SubmissionAnswer, len(asked.Receipts))}
	for i, receipt := range asked.Receipts {
		if v, decided := known[receipt]; decided {
			response.Answers[i] = mimi.DecidedAnswer(v)
		} else {
			response.Answers[i] = mimi.SubmissionAnswer{State: mimi.SubmissionUnknown, Verdict: mimi.Verdict{Receipt: receipt}}
		}
	}
	return coded(response).send(c)
}

// answerQueued tells what became of submissions for a room of another provider, which went through the queue to its hub.
func (d *Desk) answerQueued(c echo.Context, asked mimi.SubmissionsRequest) error {
	request, err := judge.NewAskQueue(asked.Room, asked.Receipts)
	if err != nil {
		return err
	}
	outcome, err := d.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	queued, ok := outcome.(fsm.SubmissionsQueued)
	if !ok {
		return unexpected("a question for submissions", outcome)
	}
	return coded(mimi.BulkSubmitResponse{Answers: queued.Answers}).send(c)
}
