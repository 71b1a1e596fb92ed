package judge

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// judgeCommit stages the Commit on the room's group, checks what came with it against the epoch that results, and turns that
// into the command's facts.
func (u *Update) judgeCommit(replica fsm.Reader, bundle mimi.CommitBundle) (Verdict, error) {
	message, raw := publicOf(bundle.Commit), bundle.Commit.Marshal()
	hash := sha256.Sum256(raw)
	content := message.Content
	winner, ended, err := fsm.ReadWinner(replica, u.room, content.GroupID, content.Epoch)
	if err != nil {
		return nil, err
	}
	if ended && winner.CommitHash == hash {
		return Answer{fsm.Accepted{Millis: winner.Millis, Epoch: content.Epoch + 1}}, nil
	}
	state, err := readState(replica, u.room)
	if err != nil {
		return nil, err
	}
	if err := checkCurrent(replica, state, content); err != nil {
		return nil, err
	}
	staged, err := stage(replica, state, message)
	if err != nil {
		return nil, err
	}
	info, err := checkBundle(staged, bundle)
	if err != nil {
		return nil, objection(err)
	}
	command := fsm.AcceptCommit{
		Room: u.room, CommitHash: hash, Commit: raw,
		Reads: fsm.ReadSet{
			Incarnation: state.Incarnation, GroupID: state.GroupID, Epoch: state.Epoch, GroupContextHash: state.GroupContextHash,
			Enforcement: state.version, Proposals: staged.References(), Departures: state.Departures,
		},
	}
	after, err := state.policy.Next(staged.After.Context())
	if err != nil {
		return nil, objection(err)
	}
	if command.Facts.Participants, err = u.checkPolicy(replica, state, staged, after); err != nil {
		return nil, err
	}
	if command.Sender, command.JoiningCode, err = u.committer(replica, state, staged); err != nil {
		return nil, err
	}
	if err := newEnforcement(replica, state).commit(staged, command.Sender, after); err != nil {
		return nil, err
	}
	if err := checkStaysFixed(state, after); err != nil {
		return nil, err
	}
	if err := checkKeepsParent(state, after); err != nil {
		return nil, err
	}
	command.Ruling = rulingOf(state, staged, after, command.Sender)
	if command.PolicyChanges, err = policyChanges(state, staged); err != nil {
		return nil, err
	}
	command.Facts = factsOf(staged.After, info, treeChanges(staged.ChangedNodes()), command.Facts.Participants, state.settings)
	if command.Renewed, command.Ruling.Leaves, err = renewed(replica, state, staged, command.Facts.Participants); err != nil {
		return nil, err
	}
	if staged.ReInit != nil {
		command.ReInit = staged.ReInit.Marshal()
	}
	command.Notified = union(state.Destinations, command.Facts.Destinations)
	command.ValidFrom, command.ValidUntil = commonLifetime(staged.Added)
	if command.Welcomes, err = u.welcomes(replica, state, staged, bundle.Welcome); err != nil {
		return nil, err
	}
	next := GroupKey{sha256.Sum256(command.Facts.GroupContext), string(command.Facts.InterimTranscriptHash)}
	groupsOf(replica).Add(next, staged.After) // it may come to be the room's, and the next request is here
	return Propose{command}, nil
}

// checkPolicy holds a staged Commit to the rules of a MIMI room, and returns the participants of the epoch that it begins.
func (u *Update) checkPolicy(replica fsm.Reader, state *roomState, staged *mls.Staged, after *policy.Policy) ([]fsm.Participant, error) {
	if err := u.checkList(replica, state, staged); err != nil {
		return nil, err
	}
	participants := participantsIn(after)
	if err := checkHubListed(staged.After.Context().Extensions, state.settings); err != nil {
		return nil, err
	}
	if err := checkHubRoleChange(replica, staged, state.settings); err != nil {
		return nil, err
	}
	if err := checkNewcomers(replica, state, participants); err != nil {
		return nil, err
	}
	return participants, u.checkMembers(replica, state, staged, participants)
}

// factsOf are the parts of a room's state that the group's epoch settles.
func factsOf(group *mls.PublicGroup, info mls.GroupInfo, changes []fsm.TreeChange, participants []fsm.Participant, settings fsm.Settings) fsm.RoomFacts {
	return fsm.RoomFacts{
		Epoch: group.Epoch(), GroupContext: group.ContextBytes(), InterimTranscriptHash: group.InterimTranscriptHash(),
		GroupInfo: info.Marshal(), TreeWidth: uint32(group.Tree().Width()), TreeChanges: changes,
		Participants: participants, Destinations: destinationsOf(participants, settings),
	}
}

// stage computes the epoch that the Commit begins. A pending Proposal that cannot be read is the replica's fault.
func stage(replica fsm.Reader, state *roomState, message *mls.PublicMessage) (*mls.Staged, error) {
	var failed error
	staged, err := state.group.Stage(message, mls.CommitInput{
		AtSeconds:  state.now,
		Components: components(),
		Leaving:    leaving(replica, state.URI, &failed),
		Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			pending, found, err := fsm.ReadPending(replica, state.URI, ref)
			if err != nil || !found {
				failed = errors.Join(failed, err)
				return nil, false
			}
			m, err := mls.ParseMLSMessage(pending.Message)
			if err != nil {
				failed = fmt.Errorf("stored Proposal: %v", err)
				return nil, false
			}
			public, ok := m.Body.(*mls.PublicMessage)
			return public, ok
		},
	})
	if failed != nil {
		return nil, failed
	}
	return staged, objection(err)
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
	info := groupInfoOf(staged, bundle.GroupInfo)
	if err := staged.After.CheckGroupInfo(info); err != nil {
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
	return info, staged.CheckWelcome(bundle.Welcome)
}

// groupInfoOf is the GroupInfo that the committer signed: given whole, or rebuilt from what the hub cannot compute of it.
func groupInfoOf(staged *mls.Staged, option mimi.GroupInfoOption) mls.GroupInfo {
	if partial, ok := option.(mimi.PartialGroupInfo); ok {
		return staged.GroupInfo(partial.Extensions, partial.Signature)
	}
	return option.(mimi.FullGroupInfo).GroupInfo
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
func (u *Update) welcomes(replica fsm.Reader, state *roomState, staged *mls.Staged, welcome *mls.Welcome) ([]fsm.WelcomeDelivery, error) {
	if welcome == nil {
		return nil, nil
	}
	var destinations []mimi.Provider
	for _, added := range staged.Added {
		route, known, err := fsm.ReadRoute(replica, u.room, added.Ref)
		if err != nil {
			return nil, err
		}
		provider := route.Provider
		if !known {
			provider = domainOf(added.KeyPackage.Leaf.Credential)
		}
		destinations = append(destinations, destinationOf(provider, state.settings))
	}
	message := mls.MLSMessage{Body: welcome}.Marshal()
	tree := mimi.FullTree{Encoded: staged.After.Tree().Marshal()}.Marshal()
	var deliveries []fsm.WelcomeDelivery
	for _, destination := range union(destinations, nil) {
		deliveries = append(deliveries, fsm.WelcomeDelivery{Destination: destination, Welcome: message, RatchetTree: tree})
	}
	return deliveries, nil
}
