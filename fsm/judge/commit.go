package judge

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// judgeCommit stages the Commit on the room's group, checks what came with it against the epoch that results, and turns that
// into the command's facts.
func (u *Update) judgeCommit(replica fsm.Reader, state *roomState, bundle mimi.CommitBundle) (Verdict, error) {
	message := bundle.Commit.Body.(*mls.PublicMessage) // the codec takes no other
	raw := bundle.Commit.Marshal()
	hash := sha256.Sum256(raw)
	if verdict, over, err := settled(replica, state, message.Content.GroupID, message.Content.Epoch, hash); over {
		return verdict, err
	}
	staged, err := stage(replica, state, message)
	if err != nil {
		return refusal(err)
	}
	info, err := checkBundle(staged, bundle)
	if err != nil {
		return refusal(err)
	}
	participants, err := participantsOf(staged.After.Context())
	if err != nil {
		return refuse("participant_list: %v", err)
	}
	listed, err := listsHub(staged.After.Context(), state.settings)
	if err != nil || !listed {
		return refuse("external_senders would no longer list a key of this hub")
	}
	sender, verdict, err := u.committer(replica, state, staged, participants)
	if verdict != nil || err != nil {
		return verdict, err
	}
	if reason, err := checkMembers(replica, state, staged, participants); reason != "" || err != nil {
		if err != nil {
			return nil, err
		}
		return refuse("%s", reason)
	}
	command := fsm.AcceptCommit{
		Room: u.room, CommitHash: hash, Commit: raw, Sender: sender,
		Reads: fsm.ReadSet{
			Incarnation: state.Incarnation, GroupID: state.GroupID, Epoch: state.Epoch, GroupContextHash: state.GroupContextHash,
			Enforcement: state.version, Proposals: staged.References(),
		},
		Facts: fsm.RoomFacts{
			Epoch: staged.Epoch(), GroupContext: staged.After.ContextBytes(), InterimTranscriptHash: staged.After.InterimTranscriptHash(),
			GroupInfo: info.Marshal(), TreeWidth: uint32(staged.After.Tree().Width()), TreeChanges: treeChanges(staged.ChangedNodes()),
			Participants: participants, Destinations: destinationsOf(participants, state.settings),
		},
	}
	command.Notified = union(state.Destinations, command.Facts.Destinations)
	command.ValidFrom, command.ValidUntil = commonLifetime(staged.Added)
	if command.Welcomes, err = welcomes(replica, state, staged, bundle.Welcome); err != nil {
		return nil, err
	}
	return Propose{command}, nil
}

func stage(replica fsm.Reader, state *roomState, message *mls.PublicMessage) (*mls.Staged, error) {
	var failed error
	staged, err := state.group.Stage(message, mls.CommitInput{
		AtSeconds:  state.now,
		Components: components(),
		Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			pending, found, err := fsm.ReadPending(replica, state.URI, ref)
			if err != nil || !found {
				failed = err
				return nil, false
			}
			m, err := mls.ParseMLSMessage(pending.Message)
			if err != nil {
				failed = fmt.Errorf("stored Proposal: %s", err)
				return nil, false
			}
			public, ok := m.Body.(*mls.PublicMessage)
			return public, ok
		},
	})
	if failed != nil {
		return nil, failed
	}
	return staged, err
}

func components() map[mls.ComponentID]mls.ComponentApplier {
	appliers := make(map[mls.ComponentID]mls.ComponentApplier)
	for id, apply := range mimi.ComponentAppliers() {
		appliers[id] = apply
	}
	return appliers
}

// checkBundle checks the GroupInfo, the tree and the Welcome against the epoch that the Commit begins. A tree that is only
// referred to is not fetched: the hub has computed its own.
func checkBundle(staged *mls.Staged, bundle mimi.CommitBundle) (mls.GroupInfo, error) {
	full, ok := bundle.GroupInfo.(mimi.FullGroupInfo)
	if !ok {
		return mls.GroupInfo{}, &mls.MalformedError{Field: "groupInfoOption", Reason: "a partial GroupInfo is not taken yet; send it in full"}
	}
	if err := staged.After.CheckGroupInfo(full.GroupInfo); err != nil {
		return mls.GroupInfo{}, err
	}
	if whole, ok := bundle.Tree.(mimi.FullTree); ok {
		tree, err := whole.ParseTree()
		if err != nil {
			return mls.GroupInfo{}, err
		}
		if err := staged.After.CheckTree(tree); err != nil {
			return mls.GroupInfo{}, err
		}
	}
	return full.GroupInfo, staged.CheckWelcome(bundle.Welcome)
}

// committer finds the user who commits. A member must be a participant of the epoch before; one who joins by an external Commit, of the new one.
func (u *Update) committer(replica fsm.Reader, state *roomState, staged *mls.Staged, after []fsm.Participant) (mimi.UserURI, Verdict, error) {
	if staged.External {
		return u.participant(replica, state.URI, staged.CommitterLeaf.Credential, after)
	}
	before := state.group.Tree().Leaf(staged.Committer)
	if !mls.SameCredential(before.Credential, staged.CommitterLeaf.Credential) {
		verdict, err := refuse("the committer changes its credential")
		return mimi.UserURI{}, verdict, err
	}
	return u.participant(replica, state.URI, before.Credential, state.Participants)
}

// checkMembers holds the members to the participant list (mimi-protocol-06 §5.3): whoever is added belongs to a participant, and nobody
// stays whose user has left the list. It says what is wrong, or nothing.
func checkMembers(replica fsm.Reader, state *roomState, staged *mls.Staged, after []fsm.Participant) (string, error) {
	listed := make(map[mimi.UserURI]bool, len(after))
	for _, p := range after {
		listed[p.User] = true
	}
	for _, added := range staged.Added {
		user, known, err := userOf(replica, state.URI, added.KeyPackage.Leaf.Credential)
		if err != nil {
			return "", err
		}
		if !known || !listed[user] {
			return fmt.Sprintf("the added client %q belongs to no participant", identityOf(added.KeyPackage.Leaf.Credential)), nil
		}
	}
	if !slices.ContainsFunc(state.Participants, func(p fsm.Participant) bool { return !listed[p.User] }) {
		return "", nil
	}
	for _, leaf := range staged.After.Members() {
		user, known, err := userOf(replica, state.URI, leaf.Credential)
		if err != nil {
			return "", err
		}
		if known && !listed[user] {
			return fmt.Sprintf("%s left the participant_list, but its client %q stays a member", user, identityOf(leaf.Credential)), nil
		}
	}
	return "", nil
}

// commonLifetime is when all of the added KeyPackages are valid; both 0 where none is added.
func commonLifetime(added []mls.AddedMember) (from, until uint64) {
	for i, a := range added {
		lifetime, _ := a.KeyPackage.Lifetime() // Stage has refused a KeyPackage without
		if i == 0 {
			from, until = lifetime.NotBefore, lifetime.NotAfter
			continue
		}
		from, until = max(from, lifetime.NotBefore), min(until, lifetime.NotAfter)
	}
	return from, until
}

// welcomes finds out to which providers the Welcome has to go: by the recorded claims, and for a KeyPackage that came another
// way (a grant, an external Add), by the domain in its credential.
func welcomes(replica fsm.Reader, state *roomState, staged *mls.Staged, welcome *mls.Welcome) ([]fsm.WelcomeDelivery, error) {
	if welcome == nil {
		return nil, nil
	}
	var destinations []mimi.Provider
	for _, added := range staged.Added {
		route, known, err := fsm.ReadRoute(replica, state.URI, added.Ref)
		if err != nil {
			return nil, err
		}
		provider := route.Provider
		if !known {
			provider = domainOf(added.KeyPackage.Leaf.Credential)
		}
		if slices.Contains(state.settings.Domains, provider) {
			provider = state.settings.Domains[0]
		}
		destinations = append(destinations, provider)
	}
	message := mls.MLSMessage{Body: welcome}.Marshal()
	tree := mimi.FullTree{Encoded: staged.After.Tree().Marshal()}.Marshal()
	var deliveries []fsm.WelcomeDelivery
	for _, destination := range union(destinations, nil) {
		deliveries = append(deliveries, fsm.WelcomeDelivery{Destination: destination, Welcome: message, RatchetTree: tree})
	}
	return deliveries, nil
}
