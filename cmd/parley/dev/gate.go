package dev

import (
	"bytes"
	"cmp"
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
	at      *node            // that answered
}

// receiptState is a word of a receipt.
type receiptState uint8

const (
	receiptUnknown  receiptState = iota // to be submitted again
	receiptAccepted                     // in the hub's log
	receiptRejected
	receiptHeld   // in the journal of a node, which owes a verdict
	receiptQueued // its own provider brings it to its hub, and owes a verdict
)

// waits reports whether a verdict is owed.
func (s receiptState) waits() bool { return s == receiptHeld || s == receiptQueued }

// gate takes submissions of one side. The error is one that concerns all of them: none is known to be decided.
type gate interface {
	submit(ctx context.Context, batch []submission) ([]receipt, error)
	// keptAt is the way to the node that holds what came before: what comes to it later goes behind that.
	keptAt(*node) gate
}

// bulkGate submits a batch in one request.
type bulkGate struct{ posters }

// posters send one request to one of the nodes that a gate leads to.
type posters interface {
	post(ctx context.Context, path string, body []byte) (reply, error)
	at(*node) posters // leads to one of them alone
}

// home leads to a side's own nodes, or to one of them.
type home struct {
	*side
	only *node // nil: all by turns
}

func (h home) post(ctx context.Context, path string, body []byte) (reply, error) {
	return h.backend.once(ctx, cmp.Or(h.only, h.backend.next()), call{method: http.MethodPost, path: path, body: body, media: mediaOctets})
}

func (h home) at(n *node) posters { return home{h.side, n} }

// abroad leads to another side's nodes, or to one of them, in the name of a side.
type abroad struct {
	from, to *side
	only     *node // nil: all by turns
}

func (a abroad) post(ctx context.Context, path string, body []byte) (reply, error) {
	return a.from.door.post(ctx, cmp.Or(a.only, a.to.backend.next()), path, body)
}

func (a abroad) at(n *node) posters { return abroad{a.from, a.to, n} }

func (g bulkGate) keptAt(n *node) gate { return bulkGate{g.at(n)} }

func (g bulkGate) submit(ctx context.Context, batch []submission) ([]receipt, error) {
	var request mimi.BulkSubmitRequest
	for _, s := range batch {
		request.Submissions = append(request.Submissions, mimi.Submission{Room: s.forum.room.String(), Kind: s.kind, Body: s.body})
	}
	answers, from, err := g.ask(ctx, "/v1/bulkSubmit", request.Marshal(), len(batch))
	if err != nil {
		return nil, err
	}
	told := make([]receipt, len(batch))
	for i, a := range answers {
		if a.Receipt() != batch[i].hash {
			return nil, fmt.Errorf("the answer to %x is for %x", batch[i].hash[:4], a.Verdict.Receipt[:4])
		}
		told[i] = receiptOf(a)
		told[i].at = from
	}
	return told, nil
}

// known asks what became of submissions for a room, by their receipts.
func (g bulkGate) known(ctx context.Context, room mimi.RoomURI, receipts []mimi.Receipt) ([]receipt, error) {
	request := mimi.SubmissionsRequest{Room: room, Receipts: receipts}
	answers, _, err := g.ask(ctx, "/v1/submissions", request.Marshal(), len(receipts))
	if err != nil {
		return nil, err
	}
	told := make([]receipt, len(receipts))
	for i, a := range answers {
		told[i] = receiptOf(a)
	}
	return told, nil
}

func (g bulkGate) ask(ctx context.Context, path string, body []byte, want int) (answers []mimi.SubmissionAnswer, from *node, err error) {
	r, err := g.post(ctx, path, body)
	if err != nil {
		return nil, nil, err
	}
	switch r.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return nil, nil, fmt.Errorf("%w: %s %s answered %d: %s", errHopeless, r.node.process.name, path, r.status, bytes.TrimSpace(r.body))
	default:
		return nil, nil, fmt.Errorf("%s %s answered %d: %s", r.node.process.name, path, r.status, bytes.TrimSpace(r.body))
	}
	response, err := mimi.ParseBulkSubmitResponse(r.body)
	if err == nil && len(response.Answers) != want {
		err = fmt.Errorf("%s %s answered %d of %d", r.node.process.name, path, len(response.Answers), want)
	}
	return response.Answers, r.node, err
}

// errHopeless: the same request would be answered in the same way for ever.
var errHopeless = errors.New("it is of no use to submit this again")

func receiptOf(a mimi.SubmissionAnswer) receipt {
	switch a.State {
	case mimi.SubmissionAccepted:
		return receipt{state: receiptAccepted}
	case mimi.SubmissionRejected:
		return receipt{state: receiptRejected, verdict: a.Verdict.Code, current: a.Verdict.Current}
	case mimi.SubmissionHeld:
		return receipt{state: receiptHeld}
	case mimi.SubmissionQueued:
		return receipt{state: receiptQueued}
	default:
		return receipt{}
	}
}
