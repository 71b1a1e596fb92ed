package judge

import (
	"crypto/sha256"
	"errors"
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
	bundle, err := mimi.ParseUpdateRequest(body)
	if err != nil {
		return nil, err
	}
	return &Update{from: from, room: room, bundle: bundle, body: slices.Clone(body)}, nil
}

func (u *Update) Slot() fsm.SlotID { return fsm.SlotOfRoom(u.room) }
func (*Update) kind() requestKind  { return kindUpdate }

func (u *Update) appendArguments(w *mls.Writer) {
	appendURIs(w, u.from, u.room)
	w.Opaque(u.body)
}

// Judge verifies the handshake against the room's group as the replica has it.
func (u *Update) Judge(replica fsm.Reader) (Verdict, error) {
	state, found, err := readState(replica, u.room)
	if err != nil {
		return nil, err
	}
	if !found {
		return Refuse{fsm.NoSuchRoom{}}, nil
	}
	var verdict Verdict
	switch bundle := u.bundle.(type) {
	case mimi.CommitBundle:
		verdict, err = u.judgeCommit(replica, state, bundle)
	case mimi.ProposalBundle:
		verdict, err = u.judgeProposals(replica, state, bundle)
	}
	if err != nil {
		return nil, err
	}
	return verdict, nil
}

// refusal turns what the group objects to into an outcome; any other error is the replica's.
func refusal(err error) (Verdict, error) {
	var unknown *mls.UnknownProposalsError
	var invalid *mls.InvalidError
	var malformed *mls.MalformedError
	switch {
	case errors.As(err, &unknown):
		return Refuse{fsm.InvalidProposal{Refs: unknown.Refs, Reason: err.Error()}}, nil
	case errors.As(err, &invalid), errors.As(err, &malformed):
		return Refuse{fsm.NotAllowed{Reason: err.Error()}}, nil
	default:
		return nil, err
	}
}

// settled answers for an epoch that is over, or refuses one that has not come: false where the message is of the present one. A
// Commit that took its epoch is a stable fact; which epoch the room is in is not.
func settled(replica fsm.Reader, state *roomState, group mls.GroupID, epoch mls.Epoch, hash [32]byte) (Verdict, bool, error) {
	if group != state.GroupID {
		verdict, err := refuse("the message is of another group than the room's")
		return verdict, true, err
	}
	if epoch == state.Epoch {
		return nil, false, nil
	}
	winner, known, err := fsm.ReadWinner(replica, state.URI, group, epoch)
	if err != nil {
		return nil, true, err
	}
	if known && winner.CommitHash == hash {
		return Answer{fsm.Accepted{Millis: winner.Millis, Epoch: epoch + 1}}, true, nil
	}
	return Refuse{fsm.WrongEpoch{Current: state.Epoch, Winner: winner.CommitHash}}, true, nil
}

// judgeProposals verifies Proposals of one group, epoch and sender; one that is invalid refuses all.
func (u *Update) judgeProposals(replica fsm.Reader, state *roomState, bundle mimi.ProposalBundle) (Verdict, error) {
	command := fsm.SubmitProposals{Room: u.room, GroupID: state.GroupID, Epoch: state.Epoch, BundleHash: sha256.Sum256(u.body)}
	var sender mls.Sender
	for i, message := range bundle.Proposals {
		public := message.Body.(*mls.PublicMessage) // the codec takes no other
		content := public.Content
		if verdict, over, err := settled(replica, state, content.GroupID, content.Epoch, [32]byte{}); over {
			return verdict, err
		}
		if i == 0 {
			sender = content.Sender
		} else if content.Sender != sender {
			return refuse("the Proposals have different senders")
		}
		ref, err := state.group.VerifyProposal(public, state.now)
		if err != nil {
			return refusal(err)
		}
		command.Proposals = append(command.Proposals, fsm.PendingProposal{Ref: ref, Message: message.Marshal()})
	}
	user, verdict, err := u.proposer(replica, state, bundle.Proposals[0].Body.(*mls.PublicMessage))
	if verdict != nil || err != nil {
		return verdict, err
	}
	command.Sender = user
	return Propose{command}, nil
}

// proposer finds the user behind a Proposal. A verdict is a refusal.
func (u *Update) proposer(replica fsm.Reader, state *roomState, message *mls.PublicMessage) (mimi.UserURI, Verdict, error) {
	var credential mls.Credential
	switch sender := message.Content.Sender.(type) {
	case mls.MemberSender:
		credential = state.group.Tree().Leaf(sender.Leaf).Credential // its signature was verified
	case mls.NewMemberProposal:
		credential = message.Content.Body.(mls.Add).KeyPackage.Leaf.Credential
	case mls.ExternalSenderIndex:
		return u.externalProposer(state, sender)
	default:
		verdict, err := refuse("this sender cannot propose")
		return mimi.UserURI{}, verdict, err
	}
	return u.participant(replica, state.URI, credential, state.Participants)
}

// externalProposer lets a provider propose under its own external sender entry only.
func (u *Update) externalProposer(state *roomState, index mls.ExternalSenderIndex) (mimi.UserURI, Verdict, error) {
	senders, err := state.group.ExternalSenders()
	if err != nil {
		return mimi.UserURI{}, nil, err
	}
	basic, ok := senders[index].Credential.(mls.BasicCredential)
	if !ok || string(basic.Identity) != "mimi://"+u.from.String() {
		verdict, err := refuse("the external sender is not the provider that sent the Proposal")
		return mimi.UserURI{}, verdict, err
	}
	return mimi.UserURI{}, nil, nil
}

// participant finds the user behind a credential, who must be one of the sending provider's and in the participant list.
func (u *Update) participant(replica fsm.Reader, room mimi.RoomURI, credential mls.Credential, list []fsm.Participant) (mimi.UserURI, Verdict, error) {
	user, known, err := userOf(replica, room, credential)
	if err != nil {
		return user, nil, err
	}
	reason := ""
	switch {
	case !known:
		reason = "the sender's credential names no user that the room knows"
	case user.Provider() != u.from:
		reason = "the sender is not a user of the provider that sent the request"
	case !slices.ContainsFunc(list, func(p fsm.Participant) bool { return p.User == user }):
		reason = "the sender is not a participant"
	}
	if reason != "" {
		verdict, err := refuse("%s", reason)
		return user, verdict, err
	}
	return user, nil, nil
}
