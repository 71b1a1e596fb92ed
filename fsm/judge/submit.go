package judge

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Submit hands in an application message (mimi-protocol-06 §5.4).
type Submit struct {
	asDecided
	from    mimi.Provider
	command fsm.SubmitMessage
	data    []byte // authenticated with the message
	body    []byte
}

// NewSubmit reads a SubmitMessageRequest.
func NewSubmit(from mimi.Provider, room mimi.RoomURI, body []byte) (*Submit, error) {
	body = slices.Clone(body)
	request, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return nil, err
	}
	message, raw := request.Message, request.Encoded()
	return &Submit{from: from, data: message.AuthenticatedData, body: body, command: fsm.SubmitMessage{
		Room: room, GroupID: message.GroupID, Epoch: message.Epoch, Sender: request.Sender,
		Hash: sha256.Sum256(raw), Message: raw,
	}}, nil
}

func (s *Submit) Slot() fsm.SlotID { return s.command.Slot() }
func (*Submit) kind() requestKind  { return kindSubmit }

// Judge leaves nearly all that depends on the room to apply: the state there is the one that counts. Only the form of the
// authenticated data, which is of no consequence to the hub itself, is held to what the replica knows.
func (s *Submit) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if !sameProvider(settings, s.from, s.command.Sender.Provider()) {
		return Refuse{fsm.NotAllowed{Reason: "sendingUri belongs to another provider"}}, nil
	}
	if err := s.checkData(replica); err != nil {
		return concluded(nil, err)
	}
	return Propose{s.command}, nil
}

// checkData refuses authenticated data that is no SafeAAD where the room demands one (mls-extensions, Safe Additional
// Authenticated Data). The GroupContext of an epoch that has ended is no longer there, so its messages go unchecked.
func (s *Submit) checkData(replica fsm.Reader) error {
	room, found, err := fsm.ReadGroupState(replica, s.command.Room)
	if err != nil || !found || room.GroupID != s.command.GroupID || room.Epoch != s.command.Epoch {
		return err
	}
	context, err := contextOf(s.command.Room, room)
	if err != nil {
		return err
	}
	return objection(context.CheckAuthenticatedData(s.data))
}

func contextOf(room mimi.RoomURI, state fsm.GroupState) (mls.GroupContext, error) {
	context, err := mls.ParseGroupContext(state.GroupContext)
	if err != nil {
		return context, fmt.Errorf("the stored GroupContext of %s: %v", room, err)
	}
	return context, nil
}

func (s *Submit) appendArguments(w *mls.Writer) {
	appendURIs(w, s.from, s.command.Room)
	w.Opaque(s.body)
}
