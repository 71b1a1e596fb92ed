package judge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// judgeProposals verifies Proposals that share group, epoch and sender. One that is invalid refuses all, and all the invalid
// ones are named (docs/deviations.md, P §5.3).
func (u *Update) judgeProposals(replica fsm.Reader, bundle mimi.ProposalBundle) (Verdict, error) {
	state, err := readState(replica, u.room)
	if err != nil {
		return nil, err
	}
	pending := make([]fsm.PendingProposal, len(bundle.Proposals))
	for i, message := range bundle.Proposals {
		ref := state.group.Suite().ProposalRef(publicOf(message).Authenticated())
		pending[i] = fsm.PendingProposal{Ref: ref, Message: message.Marshal()}
	}
	first := publicOf(bundle.Proposals[0]).Content
	if original, known, err := u.knownProposals(replica, first, pending); known || err != nil {
		return Answer{original}, err
	}
	if err := checkCurrent(replica, state, first); err != nil {
		return nil, err
	}
	invalid := fsm.InvalidProposal{}
	contents, refs := make([]mls.FramedContent, len(pending)), make([]mls.ProposalRef, len(pending))
	selfRemoves := 0
	for i, message := range bundle.Proposals {
		err := u.checkProposal(replica, state, first, publicOf(message))
		if _, leaves := publicOf(message).Content.Body.(mls.SelfRemove); leaves && err == nil {
			if selfRemoves++; selfRemoves > 1 {
				err = deny("the bundle has two SelfRemoves of one member (mls-extensions SelfRemove)")
			}
		}
		contents[i], refs[i] = publicOf(message).Content, pending[i].Ref
		if err := note(&invalid, refs[i], err); err != nil {
			return nil, err
		}
	}
	if len(invalid.Refs) > 0 {
		return nil, &denied{invalid}
	}
	user, err := u.proposer(replica, state, first)
	if err != nil {
		return nil, err
	}
	leaves, err := newEnforcement(replica, state).proposals(contents, refs, &invalid)
	if err != nil {
		return nil, err
	}
	if len(invalid.Refs) > 0 {
		return nil, &denied{invalid}
	}
	return Propose{fsm.SubmitProposals{
		Room: u.room, GroupID: state.GroupID, Epoch: state.Epoch, Sender: user, Proposals: pending, BundleHash: sha256.Sum256(u.body),
		Leaves: leaves,
	}}, nil
}

// publicOf is a handshake message's framing; the codec of bundles takes no other.
func publicOf(message mls.MLSMessage) *mls.PublicMessage { return message.Body.(*mls.PublicMessage) }

// knownProposals finds the original answer to a bundle whose Proposals were all accepted before, in whatever epoch.
func (u *Update) knownProposals(replica fsm.Reader, first mls.FramedContent, pending []fsm.PendingProposal) (fsm.Accepted, bool, error) {
	var original fsm.Accepted
	for i, p := range pending {
		record, found, err := fsm.ReadProposalRecord(replica, u.room, first.GroupID, first.Epoch, p.Ref)
		if err != nil || !found {
			return original, false, err
		}
		if i == 0 {
			original = fsm.Accepted{Millis: record.Millis, Epoch: first.Epoch}
		}
	}
	return original, true, nil
}

// checkProposal says what is wrong with one Proposal of a bundle, as a refusal with a reason.
func (u *Update) checkProposal(replica fsm.Reader, state *roomState, first mls.FramedContent, message *mls.PublicMessage) error {
	content := message.Content
	if content.GroupID != first.GroupID || content.Epoch != first.Epoch || content.Sender != first.Sender {
		return deny("the Proposals differ in group, epoch or sender")
	}
	if _, err := state.group.VerifyProposal(message, state.now); err != nil {
		return objection(err)
	}
	if err := checkWaiting(replica, state, content); err != nil {
		return err
	}
	return u.checkByItself(replica, state, content)
}

// checkWaiting refuses a Proposal that another which waits makes invalid.
func checkWaiting(replica fsm.Reader, state *roomState, content mls.FramedContent) error {
	var failed error
	err := mls.CheckWaiting(content.Body.(mls.Proposal), content.Sender, leaving(replica, state.URI, &failed))
	if failed != nil {
		return failed
	}
	return objection(err)
}

// leaving finds the members whose SelfRemove waits. It reads the pending Proposals when it is first asked; if that fails, which is
// the replica's fault, failed gets the error.
func leaving(replica fsm.Reader, room mimi.RoomURI, failed *error) func(mls.LeafIndex) bool {
	var members map[mls.LeafIndex]bool
	return func(i mls.LeafIndex) bool {
		if members == nil {
			var err error
			members, err = selfRemoves(replica, room)
			*failed = errors.Join(*failed, err)
		}
		return members[i]
	}
}

func selfRemoves(replica fsm.Reader, room mimi.RoomURI) (map[mls.LeafIndex]bool, error) {
	members := make(map[mls.LeafIndex]bool)
	pending, err := fsm.ReadAllPending(replica, room)
	for _, p := range pending {
		m, err := mls.ParseMLSMessage(p.Message)
		if err != nil {
			return members, fmt.Errorf("stored Proposal: %v", err)
		}
		content := publicOf(m).Content
		if _, ok := content.Body.(mls.SelfRemove); ok {
			members[content.Sender.(mls.MemberSender).Leaf] = true // VerifyProposal let no other sender through
		}
	}
	return members, err
}

// checkByItself refuses a Proposal that no Commit of this epoch could include: it would only stand in the committers' way.
func (u *Update) checkByItself(replica fsm.Reader, state *roomState, content mls.FramedContent) error {
	switch p := content.Body.(type) {
	case mls.ReInit:
		return checkReInit(replica, state, p)
	case mls.ExternalInit:
		return deny("an ExternalInit stands in an external Commit only (RFC 9420 §12.1.6)")
	case mls.Add:
		return u.vouched(replica, state, p.KeyPackage)
	case mls.Update:
		leaf := state.group.Tree().Leaf(content.Sender.(mls.MemberSender).Leaf) // VerifyProposal lets only members send one
		if !mls.SameCredential(leaf.Credential, p.Leaf.Credential) {
			return deny("the Update changes its sender's credential")
		}
	case mls.GroupContextExtensions:
		return checkHubListed(p.Extensions, state.settings)
	case mls.AppDataUpdate:
		return checkAppData(state.group.Context(), p)
	case mls.AppEphemeral:
		return objection(mls.CommitInput{Components: components()}.CheckEphemeral(p))
	}
	return nil
}

// checkAppData tries an AppDataUpdate on the present state.
func checkAppData(context mls.GroupContext, p mls.AppDataUpdate) error {
	dictionary, err := context.Extensions.Dictionary()
	if err != nil {
		return objection(err)
	}
	current, present := dictionary.Get(p.Component)
	apply, known := components()[p.Component]
	switch operation := p.Operation.(type) {
	case mls.ComponentUpdate:
		if !known {
			return deny("component 0x%04x is not known", uint16(p.Component))
		}
		if _, err := apply(current, [][]byte{operation.Update}); err != nil {
			return objection(err)
		}
	case mls.ComponentRemove:
		if !known || !present || p.Component == mimi.ComponentParticipantList {
			return deny("component 0x%04x cannot be removed", uint16(p.Component))
		}
	}
	return nil
}

// proposer finds the user behind verified Proposals; none where a provider proposes.
func (u *Update) proposer(replica fsm.Reader, state *roomState, content mls.FramedContent) (mimi.UserURI, error) {
	switch sender := content.Sender.(type) {
	case mls.MemberSender:
		return u.participant(replica, state, state.group.Tree().Leaf(sender.Leaf).Credential)
	case mls.NewMemberProposal:
		return u.newcomer(replica, state, content.Body.(mls.Add).KeyPackage.Leaf.Credential)
	case mls.ExternalSenderIndex:
		return mimi.UserURI{}, u.checkExternalSender(state, sender)
	default:
		return mimi.UserURI{}, deny("this sender cannot propose")
	}
}

// newcomer finds the user who proposes its own client from outside: a participant, or who might join by itself.
func (u *Update) newcomer(replica fsm.Reader, state *roomState, credential mls.Credential) (mimi.UserURI, error) {
	user, err := u.speaker(replica, state, credential)
	if err == nil && !state.policy.Participates(user) {
		_, err = state.policy.StrangerActor(strangerOf(user, credential))
		err = ruled(err)
	}
	return user, err
}

// checkExternalSender lets a provider propose under its own entry only, and only while it has a participant: its entry is to be
// removed with the last of them, but that takes a Commit (mimi-protocol-06 §7.4). The hub may always propose.
func (u *Update) checkExternalSender(state *roomState, index mls.ExternalSenderIndex) error {
	senders, err := state.group.ExternalSenders()
	if err != nil {
		return fmt.Errorf("stored external_senders: %v", err)
	}
	owner := policy.SenderProvider(senders[index])
	isOwner := func(p fsm.Participant) bool { return sameProvider(state.settings, owner, p.User.Provider()) }
	switch {
	case !sameProvider(state.settings, u.from, owner):
		return deny("the external sender is not the provider that sent the Proposal")
	case !slices.Contains(state.settings.Domains, owner) && !slices.ContainsFunc(state.Participants, isOwner):
		return deny("the external sender has no participant in the room")
	}
	return nil
}
