package judge

import (
	"crypto/sha256"
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
	body    []byte
}

// NewSubmit reads a SubmitMessageRequest.
func NewSubmit(from mimi.Provider, room mimi.RoomURI, body []byte) (*Submit, error) {
	body = slices.Clone(body)
	request, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return nil, err
	}
	message, raw := request.Message, request.MLSMessage().Marshal()
	return &Submit{from: from, body: body, command: fsm.SubmitMessage{
		Room: room, GroupID: message.GroupID, Epoch: message.Epoch, Sender: request.Sender,
		Hash: sha256.Sum256(raw), Message: raw,
	}}, nil
}

func (s *Submit) Slot() fsm.SlotID { return s.command.Slot() }
func (*Submit) kind() requestKind  { return kindSubmit }

// Judge leaves all that depends on the room to apply: the state there is the one that counts.
func (s *Submit) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if !sameProvider(settings, s.from, s.command.Sender.Provider()) {
		return Refuse{fsm.NotAllowed{Reason: "sendingUri belongs to another provider"}}, nil
	}
	return Propose{s.command}, nil
}

func (s *Submit) appendArguments(w *mls.Writer) {
	appendURIs(w, s.from, s.command.Room)
	w.Opaque(s.body)
}
