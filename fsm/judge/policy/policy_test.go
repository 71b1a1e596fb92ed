package policy

import (
	"slices"
	"strings"
	"testing"

	"parley/mimi"
	"parley/mls"
)

func user(name string) mimi.UserURI {
	u, err := mimi.ParseUserURI("mimi://a.example/u/" + name)
	if err != nil {
		panic(err)
	}
	return u
}

func credential(name string) mls.Credential {
	return mls.BasicCredential{Identity: []byte(user(name).String())}
}

// read is the policy of a room with roles, alice as admin (3) and mallory banned.
func read(t *testing.T, none, banned, admin []mimi.Capability, base mimi.BaseRoomPolicy) *Policy {
	t.Helper()
	roles := mimi.RoleData{Roles: []mimi.Role{
		{Index: mimi.RoleNone, Capabilities: none}, {Index: mimi.RoleBanned, Name: "banned", Capabilities: banned},
		{Index: 2, Name: "member"}, {Index: 3, Name: "admin", Capabilities: admin},
	}}
	list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: user("alice"), Role: 3}, {User: user("mallory"), Role: mimi.RoleBanned}}}
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal()).
		With(mimi.ComponentRoles, roles.Marshal()).With(mimi.ComponentBaseRoomPolicy, base.Marshal())
	p, err := Read(mls.GroupContext{Extensions: mls.Extensions{}.With(mls.ExtensionAppDataDictionary, dictionary.Marshal())})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func refuses(t *testing.T, err error, reason string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("%v, not because %q", err, reason)
	}
}

func TestJoiningCode(t *testing.T) {
	codes := []mimi.Capability{mimi.CanUseJoinCode}
	for name, c := range map[string]struct {
		none    []mimi.Capability
		role    *uint32
		user    string
		allowed bool
	}{
		"code":                        {codes, index(2), "erin", true},
		"no code":                     {codes, nil, "erin", false},
		"without canUseJoinCode":      {nil, index(2), "erin", false},
		"to a role that is not there": {codes, index(9), "erin", false},
		"to nobody's role":            {codes, index(mimi.RoleNone), "erin", false},
		"to be banned":                {codes, index(mimi.RoleBanned), "erin", false},
		"by who is banned":            {codes, index(2), "mallory", false},
	} {
		p := read(t, c.none, nil, nil, mimi.BaseRoomPolicy{})
		rights, err := p.Rights(Joiner{User: user(c.user), Credential: credential(c.user), Code: c.role})
		if allowed := err == nil; allowed != c.allowed {
			t.Errorf("%s: %v, %v", name, rights, err)
		}
		if c.allowed && (len(rights) != 1 || rights[0].Source != JoinCode || !slices.Equal(rights[0].Roles, []uint32{2})) {
			t.Errorf("%s: %v", name, rights)
		}
	}
}

func index(n uint32) *uint32 { return &n }

func TestMay(t *testing.T) {
	p := read(t, nil, []mimi.Capability{mimi.CanDestroyRoom}, []mimi.Capability{mimi.CanDestroyRoom}, mimi.BaseRoomPolicy{})
	if err := p.May(user("alice"), mimi.CanDestroyRoom); err != nil {
		t.Error(err)
	}
	refuses(t, p.May(user("alice"), mimi.CanCreateJoinCode), "canCreateJoinCode")
	refuses(t, p.May(user("mallory"), mimi.CanDestroyRoom), "canDestroyRoom") // what the banned are given counts for nothing
	refuses(t, p.May(user("erin"), mimi.CanDestroyRoom), "not a participant")
}

func TestReInitTakesItsCapability(t *testing.T) {
	act := Act{Proposal: mls.ReInit{}}
	p := read(t, nil, nil, []mimi.Capability{mimi.CanSendMLSReinitProposal}, mimi.BaseRoomPolicy{})
	if err := p.CheckProposal(p.UserActor(user("alice")), act); err != nil {
		t.Error(err)
	}
	p = read(t, nil, nil, nil, mimi.BaseRoomPolicy{})
	refuses(t, p.CheckProposal(p.UserActor(user("alice")), act), "canSendMLSReinitProposal")
}

// A banned user that has a client in the group all the same can do nothing but take it out.
func TestTheBanned(t *testing.T) {
	all := []mimi.Capability{mimi.CanAddOwnClient, mimi.CanChangeRoomName, mimi.CanKick, mimi.CanSendMessage}
	p := read(t, nil, all, all, mimi.BaseRoomPolicy{})
	mallory, sender := p.UserActor(user("mallory")), mls.MemberSender{Leaf: 1}
	refuses(t, p.CheckCommitter(mallory, false), "is banned")
	rename := Act{Proposal: mls.AppDataUpdate{Component: mimi.ComponentRoomMetadata, Operation: mls.ComponentUpdate{}}}
	refuses(t, p.CheckSender(mallory, sender, rename, false), "banned")
	refuses(t, p.CheckSender(mallory, sender, Act{Proposal: mls.Remove{}, Subject: user("alice")}, false), "banned")
	for _, act := range []Act{{Proposal: mls.Remove{}, Subject: user("mallory")}, {Proposal: mls.SelfRemove{}}} {
		if err := p.CheckSender(mallory, sender, act, false); err != nil {
			t.Error(err)
		}
		if err := p.CheckProposal(mallory, act); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Rights(Joiner{User: user("mallory"), Credential: credential("mallory")}); err == nil {
		t.Error("who is banned may join")
	}
	if silent := p.Silent(); !slices.Equal(silent, []uint32{mimi.RoleBanned, 2}) {
		t.Errorf("silent are %v", silent)
	}
}

// In a room of fixed membership nobody needs a capability to take its own clients out.
func TestFixedMembersTakeTheirClientsOut(t *testing.T) {
	act := Act{Proposal: mls.SelfRemove{}}
	p := read(t, nil, nil, nil, mimi.BaseRoomPolicy{})
	refuses(t, p.CheckProposal(p.UserActor(user("alice")), act), "canRemoveOwnClient")
	p = read(t, nil, nil, nil, mimi.BaseRoomPolicy{FixedMembership: true})
	if err := p.CheckProposal(p.UserActor(user("alice")), act); err != nil {
		t.Error(err)
	}
}

func TestParticipantListStays(t *testing.T) {
	all := []mimi.Capability{mimi.CanAddParticipant, mimi.CanRemoveParticipant, mimi.CanChangeOtherPolicyAttribute}
	p := read(t, []mimi.Capability{mimi.CanUseJoinCode}, nil, all, mimi.BaseRoomPolicy{})
	removal := mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentRemove{}}
	refuses(t, p.CheckProposal(p.UserActor(user("alice")), Act{Proposal: removal}), "cannot be removed")
	_, err := p.CheckJoin(Joiner{User: user("erin"), Credential: credential("erin"), Code: index(2)}, []mls.AppDataUpdate{removal})
	refuses(t, err, "cannot be removed")
}

// Who is no participant and has no right to join cannot have its client added by a Proposal of its own.
func TestStrangersClient(t *testing.T) {
	p := read(t, nil, nil, nil, mimi.BaseRoomPolicy{})
	erin := user("erin")
	refuses(t, p.CheckProposal(p.UserActor(erin), Act{Proposal: mls.Add{}, Subject: erin}), "not a participant")
	if _, err := p.StrangerActor(Joiner{User: erin, Credential: credential("erin")}); err == nil {
		t.Error("a stranger may propose to join")
	}
}

// What an earlier program took as it came counts as absent, so that the room is not stuck; the participant list has to be there.
func TestUnreadableComponents(t *testing.T) {
	list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: user("alice"), Role: 3}}}
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal())
	for _, id := range []mls.ComponentID{mimi.ComponentRoles, mimi.ComponentPreauthorization, mimi.ComponentBaseRoomPolicy, mimi.ComponentMLSOperationalPolicy} {
		dictionary = dictionary.With(id, []byte{0xff})
	}
	context := func(d mls.AppDataDictionary) mls.GroupContext {
		return mls.GroupContext{Extensions: mls.Extensions{}.With(mls.ExtensionAppDataDictionary, d.Marshal())}
	}
	p, err := Read(context(dictionary))
	if err != nil || p.hasRoles || p.operational != nil || !p.base.MultiDevice {
		t.Errorf("%+v, %v", p, err)
	}
	refuses(t, CheckNew(context(dictionary), nil), "component 0x0024")
	for name, d := range map[string]mls.AppDataDictionary{
		"no list":       dictionary.Without(mimi.ComponentParticipantList),
		"unreadable":    dictionary.With(mimi.ComponentParticipantList, []byte{9}),
		"somebody of 0": dictionary.With(mimi.ComponentParticipantList, mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: user("alice")}}}.Marshal()),
	} {
		if _, err := Read(context(d)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}
