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

// joinRights are the ways in which a user may join a room from outside by its policy; a refusal where there is none. Whoever may
// join may ask for the GroupInfo.
func joinRights(state *roomState, user mimi.UserURI, credential mls.Credential) ([]policy.Right, error) {
	rights, err := state.policy.Rights(joinerOf(user, credential))
	return rights, ruled(err)
}

// joinerOf is the one place where what authorizes a user beyond the room's own policy comes in.
func joinerOf(user mimi.UserURI, credential mls.Credential) policy.Joiner {
	return policy.Joiner{User: user, Credential: credential}
}

// joiner finds the user who joins by an external Commit, and holds it to its right to do so: a participant brings in a further
// client of its own, and anybody else adds itself to the participant list.
func (u *Update) joiner(replica fsm.Reader, state *roomState, staged *mls.Staged) (mimi.UserURI, error) {
	credential := staged.CommitterLeaf.Credential
	user, introduced, err := introducedUser(replica, state, staged)
	if err == nil && !introduced {
		user, err = u.speaker(replica, state, credential)
	} else if err == nil && !sameProvider(state.settings, u.from, user.Provider()) {
		err = deny("the sender is not a user of the provider that sent the request")
	}
	switch {
	case err != nil:
		return user, err
	case state.policy.Participates(user):
		_, err := joinRights(state, user, credential)
		return user, err
	}
	_, err = state.policy.CheckJoin(joinerOf(user, credential), updatesBy(staged))
	return user, ruled(err)
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
