package judge

import (
	"bytes"
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// grounds finds out by which right a user asks for the GroupInfo (mimi-protocol-06 §5.6). A participant asks as one, whatever else it
// brings. Who presents a joining code is judged by the code. Anybody else goes by the room's policy, or by a code that it presented
// before: a joiner that crashed has its authorization still, and no key is derived for it again.
func (g *GroupInfo) grounds(replica fsm.Reader, state *roomState, user mimi.UserURI) (fsm.LeaseGrounds, error) {
	grounds := fsm.LeaseGrounds{Peer: g.from, GroupContextHash: state.GroupContextHash, Member: g.isMember(state)}
	credential := g.request.Credential
	id, passphrase := codeOf(g.request.JoiningCode)
	if len(g.request.JoiningCode) > 0 && !state.policy.Participates(user) {
		by, authorized, err := fsm.ReadJoinAuthorization(replica, g.room, user)
		if err != nil {
			return grounds, err
		}
		if !authorized || by.Code != id {
			grounds.Right = fsm.LeaseByCode
			grounds.Code, err = g.presented(replica, state, policy.Joiner{User: user, Credential: credential}, id, passphrase)
			return grounds, err
		}
	}
	rights, err := joinRights(replica, state, user, credential)
	if err != nil {
		return grounds, err
	}
	switch rights[0].Source {
	case policy.OwnClient:
		grounds.Right = fsm.LeaseByParticipation
	case policy.JoinCode:
		grounds.Right = fsm.LeaseByCode
	default:
		grounds.Right = fsm.LeaseByPolicy
	}
	return grounds, nil
}

// presented looks at the code that came with the request. What is wrong with it is for apply to say, which counts it, unless the
// room's policy lets nobody join by it.
func (g *GroupInfo) presented(replica fsm.Reader, state *roomState, joiner policy.Joiner, id fsm.CodeID, passphrase []byte) (fsm.PresentedCode, error) {
	code, known, err := fsm.ReadJoiningCode(replica, g.room, id)
	if err != nil || !known {
		return fsm.PresentedCode{ID: id}, err
	}
	waits, err := fsm.CodesWait(replica, g.room, g.from)
	if err != nil || waits {
		return fsm.PresentedCode{ID: id}, err // it will not be looked at, and a key need not be derived
	}
	joiner.Code = &code.Role
	rights, err := state.policy.Rights(joiner)
	if err != nil {
		return fsm.PresentedCode{}, ruled(err)
	}
	if !slices.ContainsFunc(rights, func(r policy.Right) bool { return r.Source == policy.JoinCode }) {
		return fsm.PresentedCode{}, deny("the room's policy lets nobody join by this code")
	}
	key, err := passphraseKey(code.Lock, passphrase)
	return fsm.PresentedCode{ID: id, Known: true, Key: key}, err
}

// isMember reports whether the request is signed with the key of a leaf that bears its credential.
func (g *GroupInfo) isMember(state *roomState) bool {
	for _, leaf := range state.group.Members() {
		if bytes.Equal(leaf.SignatureKey, g.request.SignatureKey) && mls.SameCredential(leaf.Credential, g.request.Credential) {
			return true
		}
	}
	return false
}
