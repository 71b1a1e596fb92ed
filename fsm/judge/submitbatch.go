package judge

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// SubmitBatch hands in messages for one room (docs/extensions.md, "Submitting in bulk"). They are decided in their order, each by itself.
type SubmitBatch struct {
	asDecided
	from     mimi.Provider
	room     mimi.RoomURI
	messages []mimi.SubmittedMessage
	tell     bool
	again    bool
}

// NewSubmitBatch makes the request; it may be repeated. All senders are of one provider. With tell acceptances go on its stream as
// well, for a submitter who does not wait. It answers fsm.BatchDecided, or fsm.FormatNotReached where the shard does not take batches yet.
func NewSubmitBatch(from mimi.Provider, room mimi.RoomURI, messages []mimi.SubmittedMessage, tell bool) (*SubmitBatch, error) {
	if len(messages) == 0 || len(messages) > mimi.SubmissionsMax {
		return nil, &mls.MalformedError{Field: "messages", Reason: fmt.Sprintf("between 1 and %d are taken, not %d", mimi.SubmissionsMax, len(messages))}
	}
	return &SubmitBatch{from: from, room: room, messages: messages, tell: tell}, nil
}

func (s *SubmitBatch) Slot() fsm.SlotID { return fsm.SlotOfRoom(s.room) }
func (*SubmitBatch) kind() requestKind  { return kindSubmitBatch }

// Judge leaves to apply what it leaves to it of a single message. What the authenticated data lacks goes along, so that the log decides on
// that too: the GroupContext of an epoch never changes.
func (s *SubmitBatch) Judge(replica fsm.Reader) (Verdict, error) {
	format, err := fsm.ReadFormat(replica)
	if err != nil {
		return nil, err
	}
	if format < fsm.FormatBulk {
		return Refuse{fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: format}}, nil
	}
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	command := fsm.SubmitBatch{Room: s.room, Messages: make([]fsm.BatchMessage, len(s.messages)), Tell: s.tell, Again: s.again}
	for i, m := range s.messages {
		if sender := m.Request.Sender.Provider(); sender != s.from && !sameProvider(settings, s.from, sender) {
			return Refuse{fsm.NotAllowed{Reason: "sendingUri belongs to another provider"}}, nil
		}
		message := m.Request.Message
		command.Messages[i] = fsm.BatchMessage{
			GroupID: message.GroupID, Epoch: message.Epoch, Sender: m.Request.Sender, Hash: m.Receipt(), Message: m.Encoded,
		}
	}
	return Propose{command}, s.checkData(replica, command.Messages)
}

// checkData notes at each message what Submit would refuse its authenticated data for.
func (s *SubmitBatch) checkData(replica fsm.Reader, messages []fsm.BatchMessage) error {
	state, found, err := fsm.ReadGroupState(replica, s.room)
	if err != nil || !found {
		return err
	}
	context, err := contextOf(s.room, state)
	if err != nil {
		return err
	}
	for i, m := range messages {
		if m.GroupID != state.GroupID || m.Epoch != state.Epoch {
			continue
		}
		err := objection(context.CheckAuthenticatedData(s.messages[i].Request.Message.AuthenticatedData))
		reason, refused := reasonOf(err)
		if err != nil && !refused {
			return err
		}
		messages[i].Fault = reason
	}
	return nil
}

//	struct {
//	    opaque from<V>;
//	    opaque room<V>;
//	    opaque messages<V><V>; // SubmitMessageRequest
//	    uint8 tell;            // 0 or 1
//	    uint8 again;           // 0 or 1
//	} SubmitBatchRequest;
func (s *SubmitBatch) appendArguments(w *mls.Writer) {
	appendURIs(w, s.from, s.room)
	w.Vector(func(w *mls.Writer) {
		for _, m := range s.messages {
			w.Opaque(m.Request.Marshal())
		}
	})
	w.Bool(s.tell)
	w.Bool(s.again)
}

func readSubmitBatch(r *mls.Reader) (Request, error) {
	from, room := readURI(r, "from", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI)
	var failed error
	messages := mls.ReadList(r, "messages", func(r *mls.Reader) mimi.SubmittedMessage {
		m, err := mimi.ParseSubmittedMessage(room, r.Opaque(""))
		if err != nil && failed == nil {
			failed = err
		}
		return m
	})
	tell, again := r.Bool("tell"), r.Bool("again")
	if failed != nil {
		return nil, failed
	}
	made, err := NewSubmitBatch(from, room, messages, tell)
	if err != nil {
		return nil, err
	}
	made.again = again
	return made, nil
}

// RecordVerdicts records what was decided on submissions otherwise than by a batch.
type RecordVerdicts struct {
	asDecided
	command fsm.RecordVerdicts
}

// NewRecordVerdicts makes the request; it may be repeated. provider is who submitted, and is told of rejections; with tell of
// acceptances as well.
func NewRecordVerdicts(room mimi.RoomURI, provider mimi.Provider, verdicts []mimi.Verdict, tell bool) (*RecordVerdicts, error) {
	return &RecordVerdicts{command: fsm.RecordVerdicts{Room: room, Provider: provider, Verdicts: verdicts, Tell: tell}}, nil
}

func (v *RecordVerdicts) Slot() fsm.SlotID { return v.command.Slot() }
func (*RecordVerdicts) kind() requestKind  { return kindRecordVerdicts }

// Judge says nothing in a shard that records no verdicts yet.
func (v *RecordVerdicts) Judge(replica fsm.Reader) (Verdict, error) {
	format, err := fsm.ReadFormat(replica)
	if err != nil {
		return nil, err
	}
	if format < fsm.FormatBulk {
		return Refuse{fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: format}}, nil
	}
	return Propose{v.command}, nil
}

func (v *RecordVerdicts) appendArguments(w *mls.Writer) {
	appendURIs(w, v.command.Room, v.command.Provider)
	mls.AppendList(w, v.command.Verdicts)
	w.Bool(v.command.Tell)
}

func readRecordVerdicts(r *mls.Reader) (Request, error) {
	return constructed(NewRecordVerdicts(readURI(r, "room", mimi.ParseRoomURI), readURI(r, "provider", mimi.ParseProvider),
		mls.ReadList(r, "verdicts", mimi.ReadVerdict), r.Bool("tell")))
}

// Submissions asks what became of submissions for a room.
type Submissions struct {
	asRead
	of       []mimi.Provider
	room     mimi.RoomURI
	receipts []mimi.Receipt
}

// NewSubmissions makes the request in the name of the providers that submitted. It answers fsm.SubmissionsRead.
func NewSubmissions(of []mimi.Provider, room mimi.RoomURI, receipts []mimi.Receipt) (*Submissions, error) {
	return &Submissions{of: of, room: room, receipts: receipts}, nil
}

func (s *Submissions) Slot() fsm.SlotID { return fsm.SlotOfRoom(s.room) }
func (*Submissions) kind() requestKind  { return kindSubmissions }

// Judge answers at once where all are known; that one is not known could be out of date on a replica that is behind.
func (s *Submissions) Judge(replica fsm.Reader) (Verdict, error) {
	var read fsm.SubmissionsRead
	for _, receipt := range s.receipts {
		verdict, found, err := fsm.ReadSubmission(replica, s.room, receipt, s.of)
		if err != nil {
			return nil, err
		}
		if found {
			read.Verdicts = append(read.Verdicts, verdict)
		}
	}
	if len(read.Verdicts) < len(s.receipts) {
		return Refuse{read}, nil
	}
	return Answer{read}, nil
}

func (s *Submissions) appendArguments(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, p := range s.of {
			appendURIs(w, p)
		}
	})
	appendURIs(w, s.room)
	w.Vector(func(w *mls.Writer) {
		for _, receipt := range s.receipts {
			w.Fixed(receipt[:])
		}
	})
}

func readSubmissions(r *mls.Reader) (Request, error) {
	return constructed(NewSubmissions(
		mls.ReadList(r, "of", func(r *mls.Reader) mimi.Provider { return readURI(r, "", mimi.ParseProvider) }),
		readURI(r, "room", mimi.ParseRoomURI),
		mls.ReadList(r, "receipts", func(r *mls.Reader) (receipt mimi.Receipt) {
			copy(receipt[:], r.Fixed("", len(receipt)))
			return receipt
		})))
}
