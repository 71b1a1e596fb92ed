package judge

import (
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// policyOf is a room's policy in its present epoch. In a shard of an older format only the participant list is looked at, as the
// programs do that may still run beside this one.
func (s *roomState) policyOf(context mls.GroupContext) (*policy.Policy, error) {
	list := make([]mimi.UserRolePair, len(s.Participants))
	for i, p := range s.Participants {
		list[i] = mimi.UserRolePair{User: p.User, Role: p.Role}
	}
	read := policy.Stored
	if s.format < fsm.FormatExclusive {
		read = policy.StoredParticipants
	}
	p, err := read(context, list)
	if err != nil {
		return nil, fmt.Errorf("the stored GroupContext: %v", err)
	}
	return p, nil
}

// ruled makes a refusal of what a room's policy says no to; what it cannot read of a request is refused as anything unreadable is.
func ruled(err error) error {
	var refusal *policy.Refusal
	if errors.As(err, &refusal) {
		return deny("%s", refusal.Reason)
	}
	return objection(err)
}

// joinRights are the ways in which a user may join a room from outside, by its policy and by a joining code that it has presented; a
// refusal where there is none. Whoever may join may ask for the GroupInfo.
func joinRights(replica fsm.Reader, state *roomState, user mimi.UserURI, credential mls.Credential) ([]policy.Right, error) {
	joiner, _, err := joinerOf(replica, state, user, credential)
	if err != nil {
		return nil, err
	}
	rights, err := state.policy.Rights(joiner)
	return rights, ruled(err)
}

// strangerOf is somebody who has nothing but what the room's own policy gives. A code admits to an external join alone (room-policy-03
// §8.1.1): nobody proposes by it, since its use is counted with the Commit that joins.
func strangerOf(user mimi.UserURI, credential mls.Credential) policy.Joiner {
	return policy.Joiner{User: user, Credential: credential}
}

// joinerOf is the one place where what authorizes a user beyond the room's own policy comes in: the code that it may join by.
func joinerOf(replica fsm.Reader, state *roomState, user mimi.UserURI, credential mls.Credential) (policy.Joiner, fsm.CodeID, error) {
	joiner := strangerOf(user, credential)
	by, authorized, err := fsm.ReadJoinAuthorization(replica, state.URI, user)
	if err != nil || !authorized {
		return joiner, fsm.CodeID{}, err
	}
	joiner.Code = &by.Role
	return joiner, by.Code, nil
}

// joiner finds the user who joins by an external Commit, and holds it to its right to do so: a participant brings in a further
// client of its own, and anybody else adds itself to the participant list. The code is that on which a stranger's right rests, if on
// any.
func (u *Update) joiner(replica fsm.Reader, state *roomState, staged *mls.Staged) (mimi.UserURI, fsm.CodeID, error) {
	credential, none := staged.CommitterLeaf.Credential, fsm.CodeID{}
	user, introduced, err := introducedUser(replica, state, staged)
	if err == nil && !introduced {
		user, err = u.speaker(replica, state, credential)
	} else if err == nil && !sameProvider(state.settings, u.from, user.Provider()) {
		err = deny("the sender is not a user of the provider that sent the request")
	}
	switch {
	case err != nil:
		return user, none, err
	case state.policy.Participates(user):
		_, err := joinRights(replica, state, user, credential)
		return user, none, err
	}
	joiner, code, err := joinerOf(replica, state, user, credential)
	if err != nil {
		return user, none, err
	}
	right, err := state.policy.CheckJoin(joiner, updatesBy(staged))
	if err != nil || right.Source != policy.JoinCode {
		return user, none, ruled(err)
	}
	return user, code, nil
}

// introducedUser is whose client joins where the room does not know it and the Commit says it: a client of the provider's that sends
// the Commit, which adds one user of the same provider. A provider vouches for its own users.
func introducedUser(replica fsm.Reader, state *roomState, staged *mls.Staged) (mimi.UserURI, bool, error) {
	client := clientOf(staged.CommitterLeaf.Credential)
	added := policy.AddedUsers(updatesBy(staged))
	if client.IsZero() || len(added) != 1 || added[0].Provider() != client.Provider() {
		return mimi.UserURI{}, false, nil
	}
	_, known, err := fsm.ReadClientUser(replica, state.URI, client)
	return added[0], !known && err == nil, err
}

// updatesBy are the AppDataUpdates that stand in a Commit itself, and so are its committer's.
func updatesBy(staged *mls.Staged) (updates []mls.AppDataUpdate) {
	for _, c := range staged.Proposals {
		if update, ok := c.Proposal.(mls.AppDataUpdate); ok && c.Ref == "" {
			updates = append(updates, update)
		}
	}
	return updates
}
