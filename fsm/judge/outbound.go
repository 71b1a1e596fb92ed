package judge

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Kinds of what waits to be brought to other hubs.
const (
	kindQueue       requestKind = 45
	kindSettleQueue requestKind = 46
	kindAskQueue    requestKind = 47
)

// Queue puts submissions of the provider's own clients, for one room of another provider, into the queue to that hub.
type Queue struct {
	asDecided
	room      mimi.RoomURI
	submitted []mimi.Submission // as they came
	senders   []mimi.Provider   // of the messages among them
	command   fsm.QueueSubmissions
}

// NewQueue reads submissions for one room. The error of one that cannot be read, or is for another room, is a *mls.MalformedError. It answers
// fsm.SubmissionsQueued.
func NewQueue(room mimi.RoomURI, submissions []mimi.Submission) (*Queue, error) {
	q := &Queue{room: room, command: fsm.QueueSubmissions{Room: room}}
	for i, s := range submissions {
		s.Body = slices.Clone(s.Body)
		read, err := s.Read()
		if err != nil {
			return nil, err
		}
		if read.ForRoom() != room {
			return nil, &mls.MalformedError{Field: fmt.Sprintf("submissions[%d].roomId", i), Reason: "the submissions are for several rooms"}
		}
		if message, ok := read.(mimi.SubmittedMessage); ok {
			q.senders = append(q.senders, message.Request.Sender.Provider())
		}
		q.submitted = append(q.submitted, s)
		q.command.Submissions = append(q.command.Submissions, fsm.OutboundSubmission{Receipt: read.Receipt(), Kind: s.Kind, Body: s.Body})
	}
	return q, nil
}

func (q *Queue) Slot() fsm.SlotID { return q.command.Slot() }
func (*Queue) kind() requestKind  { return kindQueue }

// Judge takes what local users send to the rooms of others. Whose the Proposals are, only the hub can tell.
func (q *Queue) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if format, err := fsm.ReadFormat(replica); err != nil || format < fsm.FormatBulk {
		return Refuse{fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: format}}, err
	}
	if slices.Contains(settings.Domains, q.room.Provider()) {
		return Refuse{fsm.NotAllowed{Reason: "the room is hosted here"}}, nil
	}
	for _, sender := range q.senders {
		if !slices.Contains(settings.Domains, sender) {
			return Refuse{fsm.NotAllowed{Reason: "sendingUri belongs to another provider"}}, nil
		}
	}
	return Propose{q.command}, nil
}

func (q *Queue) appendArguments(w *mls.Writer) {
	appendURIs(w, q.room)
	mls.AppendList(w, q.submitted)
}

func readQueue(r *mls.Reader) (Request, error) {
	return constructed(NewQueue(readURI(r, "room", mimi.ParseRoomURI), mls.ReadList(r, "submissions", readSubmission)))
}

// SettleQueue brings verdicts on submissions that wait in one slot for one hub.
type SettleQueue struct {
	asDecided
	command fsm.SettleSubmissions
}

// NewSettleQueue makes the request; it may be repeated.
func NewSettleQueue(slot fsm.SlotID, hub mimi.Provider, settled []fsm.SettledSubmission) (*SettleQueue, error) {
	if slot >= fsm.SlotCount {
		return nil, &mls.MalformedError{Field: "slot", Reason: fmt.Sprintf("slot %d is not below %d", slot, fsm.SlotCount)}
	}
	return &SettleQueue{command: fsm.SettleSubmissions{At: slot, Hub: hub, Settled: settled}}, nil
}

func (s *SettleQueue) Slot() fsm.SlotID                  { return s.command.At }
func (s *SettleQueue) Judge(fsm.Reader) (Verdict, error) { return Propose{s.command}, nil }
func (*SettleQueue) kind() requestKind                   { return kindSettleQueue }

func (s *SettleQueue) appendArguments(w *mls.Writer) {
	w.Uint16(uint16(s.command.At))
	appendURIs(w, s.command.Hub)
	w.Vector(func(w *mls.Writer) {
		for _, one := range s.command.Settled {
			w.Uint64(one.Number)
			one.Verdict.AppendTo(w)
		}
	})
}

func readSettleQueue(r *mls.Reader) (Request, error) {
	return constructed(NewSettleQueue(fsm.SlotID(r.Uint16("slot")), readURI(r, "hub", mimi.ParseProvider),
		mls.ReadList(r, "settled", func(r *mls.Reader) fsm.SettledSubmission {
			return fsm.SettledSubmission{Number: r.Uint64("number"), Verdict: mimi.ReadVerdict(r)}
		})))
}

// AskQueue asks what became of submissions for a room of another provider.
type AskQueue struct {
	asRead
	room     mimi.RoomURI
	receipts []mimi.Receipt
}

// NewAskQueue makes the request. It answers fsm.SubmissionsQueued, in the order of the receipts.
func NewAskQueue(room mimi.RoomURI, receipts []mimi.Receipt) (*AskQueue, error) {
	return &AskQueue{room: room, receipts: receipts}, nil
}

func (a *AskQueue) Slot() fsm.SlotID { return fsm.SlotOfRoom(a.room) }
func (*AskQueue) kind() requestKind  { return kindAskQueue }

// Judge answers at once where everything has its verdict; what a replica does not know may only be new.
func (a *AskQueue) Judge(replica fsm.Reader) (Verdict, error) {
	asked := fsm.SubmissionsQueued{Answers: make([]mimi.SubmissionAnswer, len(a.receipts))}
	decided := true
	for i, receipt := range a.receipts {
		var err error
		if asked.Answers[i], err = fsm.ReadQueued(replica, a.room, receipt); err != nil {
			return nil, err
		}
		decided = decided && asked.Answers[i].State.Decided()
	}
	if decided {
		return Answer{asked}, nil
	}
	return Refuse{asked}, nil
}

func (a *AskQueue) appendArguments(w *mls.Writer) {
	appendURIs(w, a.room)
	w.Vector(func(w *mls.Writer) {
		for _, receipt := range a.receipts {
			w.Fixed(receipt[:])
		}
	})
}

func readAskQueue(r *mls.Reader) (Request, error) {
	return constructed(NewAskQueue(readURI(r, "room", mimi.ParseRoomURI), mls.ReadList(r, "receipts", func(r *mls.Reader) (receipt mimi.Receipt) {
		copy(receipt[:], r.Fixed("", len(receipt)))
		return receipt
	})))
}
