package judge

import (
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Update hands in a Commit with what belongs to it, or Proposals (mimi-protocol-06 §5.3).
type Update struct {
	asDecided
	from   mimi.Provider
	room   mimi.RoomURI
	bundle mimi.HandshakeBundle
	body   []byte
}

// NewUpdate reads an UpdateRequest from a provider.
func NewUpdate(from mimi.Provider, room mimi.RoomURI, body []byte) (*Update, error) {
	body = slices.Clone(body)
	bundle, err := mimi.ParseUpdateRequest(body)
	if err != nil {
		return nil, err
	}
	return &Update{from: from, room: room, bundle: bundle, body: body}, nil
}

func (u *Update) Slot() fsm.SlotID { return fsm.SlotOfRoom(u.room) }
func (*Update) kind() requestKind  { return kindUpdate }

func (u *Update) appendArguments(w *mls.Writer) {
	appendURIs(w, u.from, u.room)
	w.Opaque(u.body)
}

// Judge verifies the handshake against the room's group as the replica has it. What was accepted before is answered before
// anything else is looked at: a retry gets the original success although its sender may since have lost the right to send it.
func (u *Update) Judge(replica fsm.Reader) (Verdict, error) {
	switch bundle := u.bundle.(type) {
	case mimi.CommitBundle:
		return concluded(u.judgeCommit(replica, bundle))
	default:
		return concluded(u.judgeProposals(replica, bundle.(mimi.ProposalBundle)))
	}
}

// checkCurrent refuses what is not of the room's group and epoch.
func checkCurrent(replica fsm.Reader, state *roomState, content mls.FramedContent) error {
	if content.GroupID != state.GroupID {
		return deny("the message is of another group than the room's")
	}
	if content.Epoch == state.Epoch {
		return nil
	}
	winner, _, err := fsm.ReadWinner(replica, state.URI, content.GroupID, content.Epoch)
	if err != nil {
		return err
	}
	return &denied{fsm.WrongEpoch{Current: state.Epoch, Winner: winner.CommitHash}}
}

// participant finds the user behind a credential, who must be one of the sending provider's and a participant of the present
// epoch: whoever has been removed may not send (mimi-protocol-06 §5.3).
func (u *Update) participant(replica fsm.Reader, state *roomState, credential mls.Credential) (mimi.UserURI, error) {
	user, err := u.speaker(replica, state, credential)
	if err == nil && !state.policy.Participates(user) {
		err = deny("the sender is not a participant")
	}
	return user, err
}

// speaker finds the user behind a credential, who must be one of the sending provider's.
func (u *Update) speaker(replica fsm.Reader, state *roomState, credential mls.Credential) (mimi.UserURI, error) {
	user, known, err := userOf(replica, u.room, credential)
	switch {
	case err != nil:
		return user, err
	case !known:
		return user, deny("the sender's credential names no user that the room knows")
	case !sameProvider(state.settings, u.from, user.Provider()):
		return user, deny("the sender is not a user of the provider that sent the request")
	}
	return user, checkNotDeparted(replica, state, user, credential)
}
