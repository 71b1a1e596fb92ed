package judge

import (
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// checkList holds a Commit's Proposals to what a hub must know beside RFC 9420. Those by reference passed checkByItself when they
// came in, in this epoch.
func (u *Update) checkList(replica fsm.Reader, state *roomState, staged *mls.Staged) error {
	for _, c := range staged.Proposals {
		switch p := c.Proposal.(type) {
		case mls.ReInit:
			if err := checkReInit(replica, state, p); err != nil {
				return err
			}
		case mls.Add:
			if c.Ref != "" {
				continue
			}
			if err := u.vouched(replica, state, p.KeyPackage); err != nil {
				return err
			}
		case mls.Remove:
			// Whoever joins by an external Commit may take out what it was before, and nobody else (RFC 9420 §12.4.3.2).
			if staged.External && !mls.SameCredential(state.group.Tree().Leaf(p.Removed).Credential, staged.CommitterLeaf.Credential) {
				return deny("an external Commit removes another client than the one that joins")
			}
		}
	}
	return nil
}

// vouched refuses a KeyPackage whose credential nobody stands behind. A basic credential proves nothing, so that anybody could
// make one in another provider's name: its provider must have handed the KeyPackage out for this client, as a claim has recorded,
// or send the Add itself (docs/deviations.md, P §5.2).
func (u *Update) vouched(replica fsm.Reader, state *roomState, k mls.KeyPackage) error {
	credential := k.Leaf.Credential
	user, known, err := userOf(replica, u.room, credential)
	if err != nil {
		return err
	}
	if !known {
		return deny("the added client %q belongs to no user that the room knows", nameOf(credential))
	}
	if err := checkNotDeparted(replica, state, user, credential); err != nil {
		return err
	}
	ref, err := k.Ref()
	if err != nil {
		return objection(err)
	}
	route, claimed, err := fsm.ReadRoute(replica, u.room, ref)
	switch client := clientOf(credential); {
	case err != nil:
		return err
	case !claimed && !sameProvider(state.settings, u.from, user.Provider()):
		return deny("the KeyPackage of %q was not claimed for this room", nameOf(credential))
	case claimed && (route.User != user || !client.IsZero() && client != route.Client):
		return deny("the KeyPackage of %q was claimed from %s", nameOf(credential), route.Client)
	}
	return nil
}

// committer finds the user who commits: a participant, or one whom the room's policy lets join, then with the code that it takes.
func (u *Update) committer(replica fsm.Reader, state *roomState, staged *mls.Staged) (mimi.UserURI, fsm.CodeID, error) {
	if staged.External {
		return u.joiner(replica, state, staged)
	}
	credential := staged.CommitterLeaf.Credential
	if !mls.SameCredential(state.group.Tree().Leaf(staged.Committer).Credential, credential) {
		return mimi.UserURI{}, fsm.CodeID{}, deny("the committer changes its credential")
	}
	user, err := u.participant(replica, state, credential)
	return user, fsm.CodeID{}, err
}

// checkMembers holds the members to the participant list (mimi-protocol-06 §5.3): whoever is added belongs to a participant, and
// nobody stays whose user has left the list. A participant need not have a client.
func (u *Update) checkMembers(replica fsm.Reader, state *roomState, staged *mls.Staged, after []fsm.Participant) error {
	listed := make(map[mimi.UserURI]bool, len(after))
	for _, p := range after {
		listed[p.User] = true
	}
	for _, added := range staged.Added {
		credential := added.KeyPackage.Leaf.Credential
		user, known, err := userOf(replica, u.room, credential)
		switch {
		case err != nil:
			return err
		case !known || !listed[user]:
			return deny("the added client %q belongs to no participant", nameOf(credential))
		}
	}
	if !slices.ContainsFunc(state.Participants, func(p fsm.Participant) bool { return !listed[p.User] }) {
		return nil
	}
	for _, leaf := range staged.After.Members() {
		user, known, err := userOf(replica, u.room, leaf.Credential)
		switch {
		case err != nil:
			return err
		case !known || !listed[user]:
			return deny("%s left the participant_list, but its client %q stays a member", user, nameOf(leaf.Credential))
		}
	}
	return nil
}
