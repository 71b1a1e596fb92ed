package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/storage"
)

// decide gets verdicts on items of one room, in order, into the log, and says how many of the first ones have theirs.
func (h *held) decide(ctx context.Context, room mimi.RoomURI, items []heldItem) (done int, err error) {
	ctx, cancel := context.WithTimeout(ctx, heldTimeout)
	defer cancel()
	asked := ctx
	settings := h.node.Settings()
	batch := heldBatch{}
	for i, item := range items {
		value, err := h.journal.Read(item.id)
		switch {
		case errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrNoRecord):
			// The disk does not give it back. It is told of, and cannot be decided.
			h.node.log.Error("ALARM: a held submission is lost", "room", room, "number", item.id.Number, "error", err)
			if len(batch.messages) > 0 {
				return h.decideBatch(ctx, asked, room, batch)
			}
			return i + 1, nil
		case err != nil:
			return 0, err
		}
		submission, err := judge.DecodeHeld(value)
		if err != nil {
			return 0, err
		}
		read, err := submission.Submission.Read()
		if err != nil {
			return 0, err
		}
		if len(batch.messages) == 0 && !slices.Contains(settings.Domains, submission.From) {
			asked = meta.WithCaller(ctx, meta.Caller{Peer: submission.From}) // a peer that was removed meanwhile is heard no more
		}
		message, isMessage := read.(mimi.SubmittedMessage)
		expired := h.node.config.Clock.Wall().UnixMilli() > int64(submission.Millis)+heldForMax.Milliseconds()
		if isMessage && !expired && batch.takes(submission.From, message) {
			continue
		}
		if len(batch.messages) > 0 {
			return h.decideBatch(ctx, asked, room, batch)
		}
		if expired {
			err = h.expire(ctx, room, submission.From, read.Receipt())
		} else {
			err = h.decideProposals(ctx, asked, room, submission, read.Receipt())
		}
		if err != nil {
			return 0, err
		}
		return 1, nil
	}
	return h.decideBatch(ctx, asked, room, batch)
}

// heldBatch is messages of one provider that are decided together.
type heldBatch struct {
	from     mimi.Provider
	messages []mimi.SubmittedMessage
	bytes    int
}

func (b *heldBatch) takes(from mimi.Provider, m mimi.SubmittedMessage) bool {
	if len(b.messages) > 0 && (from != b.from || b.bytes+len(m.Encoded) > heldBytesMax) {
		return false
	}
	b.from, b.messages, b.bytes = from, append(b.messages, m), b.bytes+len(m.Encoded)
	return true
}

// decideBatch has the verdicts told in the entry that decides.
func (h *held) decideBatch(ctx, asked context.Context, room mimi.RoomURI, batch heldBatch) (done int, err error) {
	request, err := judge.NewSubmitBatch(batch.from, room, batch.messages, true)
	if err != nil {
		return 0, err
	}
	outcome, err := h.node.Do(asked, request)
	if err != nil {
		return 0, err
	}
	switch o := outcome.(type) {
	case fsm.BatchDecided:
		return len(batch.messages), nil
	case fsm.FormatNotReached:
		return 0, fmt.Errorf("the shard is of format %d", o.Has)
	default:
		verdicts := make([]mimi.Verdict, len(batch.messages))
		for i, m := range batch.messages {
			var decided bool
			if verdicts[i], decided = judge.VerdictOf(m.Receipt(), outcome); !decided {
				return 0, fmt.Errorf("a batch came to the outcome %T", outcome)
			}
		}
		if err := h.tell(ctx, room, batch.from, verdicts...); err != nil {
			return 0, err
		}
		return len(batch.messages), nil
	}
}

// decideProposals decides as for one who waits, and then has the verdict told.
func (h *held) decideProposals(ctx, asked context.Context, room mimi.RoomURI, held judge.HeldSubmission, receipt mimi.Receipt) error {
	request, err := judge.NewUpdate(held.From, room, held.Submission.Body)
	if err != nil {
		return err
	}
	outcome, err := h.node.Do(asked, request)
	if err != nil {
		return err
	}
	verdict, decided := judge.VerdictOf(receipt, outcome)
	if !decided {
		return fmt.Errorf("a bundle of Proposals came to the outcome %T", outcome)
	}
	return h.tell(ctx, room, held.From, verdict)
}

// expire gives an item up, if it has no verdict yet: it may have been decided before a crash.
func (h *held) expire(ctx context.Context, room mimi.RoomURI, from mimi.Provider, receipt mimi.Receipt) error {
	request, err := judge.NewSubmissions([]mimi.Provider{from}, room, []mimi.Receipt{receipt})
	if err != nil {
		return err
	}
	outcome, err := h.node.Do(ctx, request)
	if err != nil {
		return err
	}
	if read, ok := outcome.(fsm.SubmissionsRead); ok && len(read.Verdicts) > 0 {
		return nil
	}
	h.node.log.Error("ALARM: a held submission is given up", "room", room, "from", from)
	h.expired.Add(1)
	return h.tell(ctx, room, from, mimi.Verdict{Receipt: receipt, Code: mimi.VerdictExpired, Reason: heldReasonOld})
}

func (h *held) tell(ctx context.Context, room mimi.RoomURI, from mimi.Provider, verdicts ...mimi.Verdict) error {
	request, err := judge.NewRecordVerdicts(room, from, verdicts, true)
	if err != nil {
		return err
	}
	outcome, err := h.node.Do(ctx, request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Done, fsm.NoSuchRoom: // of a room that does not exist the verdict is told all the same
		return nil
	default:
		return fmt.Errorf("a record of verdicts came to the outcome %T", o)
	}
}
