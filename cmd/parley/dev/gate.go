package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"parley/mimi"
	"parley/mls"
)

// submission is a letter on its way to its hub.
type submission struct {
	forum *forum
	hash  [32]byte
	kind  mimi.SubmissionKind
	body  []byte // as its kind has it
}

// receipt is what a submitter is told of a submission.
type receipt struct {
	state   receiptState
	verdict mimi.VerdictCode // of what was rejected
	current mls.Epoch        // of the room then
}

// receiptState is a word of a receipt.
type receiptState uint8

const (
	receiptUnknown  receiptState = iota // to be submitted again
	receiptAccepted                     // in the hub's log
	receiptRejected
	receiptWaits // its own provider keeps it, and owes a verdict
)

// gate takes submissions of one side. The error is one that concerns all of them: none is known to be decided.
type gate interface {
	submit(ctx context.Context, batch []submission) ([]receipt, error)
}

// bulkGate submits a batch in one request.
type bulkGate struct{ posters }

// posters send one request to one of the nodes that a gate leads to.
type posters interface {
	post(ctx context.Context, path string, body []byte) (reply, error)
}

// home leads to a side's own nodes, by turns.
type home struct{ *side }

func (h home) post(ctx context.Context, path string, body []byte) (reply, error) {
	return h.backend.once(ctx, h.backend.next(), call{method: http.MethodPost, path: path, body: body, media: mediaOctets})
}

// abroad leads to another side's nodes, by turns, in the name of a side.
type abroad struct{ from, to *side }

func (a abroad) post(ctx context.Context, path string, body []byte) (reply, error) {
	return a.from.door.post(ctx, a.to.backend.next(), path, body)
}

func (g bulkGate) submit(ctx context.Context, batch []submission) ([]receipt, error) {
	var request mimi.BulkSubmitRequest
	for _, s := range batch {
		request.Submissions = append(request.Submissions, mimi.Submission{Room: s.forum.room.String(), Kind: s.kind, Body: s.body})
	}
	answers, err := g.ask(ctx, "/v1/bulkSubmit", request.Marshal(), len(batch))
	if err != nil {
		return nil, err
	}
	told := make([]receipt, len(batch))
	for i, a := range answers {
		if a.Receipt() != batch[i].hash {
			return nil, fmt.Errorf("the answer to %x is for %x", batch[i].hash[:4], a.Verdict.Receipt[:4])
		}
		told[i] = receiptOf(a)
	}
	return told, nil
}

// known asks what became of submissions for a room, by their receipts.
func (g bulkGate) known(ctx context.Context, room mimi.RoomURI, receipts []mimi.Receipt) ([]receipt, error) {
	request := mimi.SubmissionsRequest{Room: room, Receipts: receipts}
	answers, err := g.ask(ctx, "/v1/submissions", request.Marshal(), len(receipts))
	if err != nil {
		return nil, err
	}
	told := make([]receipt, len(receipts))
	for i, a := range answers {
		told[i] = receiptOf(a)
	}
	return told, nil
}

func (g bulkGate) ask(ctx context.Context, path string, body []byte, want int) ([]mimi.SubmissionAnswer, error) {
	r, err := g.post(ctx, path, body)
	if err != nil {
		return nil, err
	}
	switch r.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return nil, fmt.Errorf("%w: %s %s answered %d: %s", errHopeless, r.node.process.name, path, r.status, bytes.TrimSpace(r.body))
	default:
		return nil, fmt.Errorf("%s %s answered %d: %s", r.node.process.name, path, r.status, bytes.TrimSpace(r.body))
	}
	response, err := mimi.ParseBulkSubmitResponse(r.body)
	if err == nil && len(response.Answers) != want {
		err = fmt.Errorf("%s %s answered %d of %d", r.node.process.name, path, len(response.Answers), want)
	}
	return response.Answers, err
}

// errHopeless: the same request would be answered in the same way for ever.
var errHopeless = errors.New("it is of no use to submit this again")

func receiptOf(a mimi.SubmissionAnswer) receipt {
	switch a.State {
	case mimi.SubmissionAccepted:
		return receipt{state: receiptAccepted}
	case mimi.SubmissionRejected:
		return receipt{state: receiptRejected, verdict: a.Verdict.Code, current: a.Verdict.Current}
	case mimi.SubmissionHeld, mimi.SubmissionQueued:
		return receipt{state: receiptWaits}
	default:
		return receipt{}
	}
}
