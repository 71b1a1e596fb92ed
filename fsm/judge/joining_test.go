package judge

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// TestJoinFromOutside lets strangers join by each right that a policy can give, and by none.
func TestJoinFromOutside(t *testing.T) {
	ofA := claims("iss", "a.example")
	open := func(roles ...uint32) *house {
		return newHouse().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roles...)
	}
	preauthorized := func(entries ...mimi.PreAuthRoleEntry) *house {
		return newHouse().allow(roleGuest, mimi.CanJoinIfPreauthorized).allow(roleAdmin, mimi.CanJoinIfPreauthorized).
			with(mimi.ComponentPreauthorization, preauth(entries...))
	}
	for name, c := range map[string]struct {
		house *house
		list  []mls.Proposal
		why   string // it is refused; empty where erin joins
	}{
		"open":                          {open(roleMember, roleGuest), []mls.Proposal{listed("erin", roleGuest)}, ""},
		"open, another role":            {open(roleMember), []mls.Proposal{listed("erin", roleGuest)}, "with the role 4"},
		"open, as banned":               {open(roleMember, roleBanned), []mls.Proposal{listed("erin", roleBanned)}, "with the role 1"},
		"open, to no role":              {open(), []mls.Proposal{listed("erin", roleGuest)}, "not a participant"},
		"open, to a role that is not":   {open(9), []mls.Proposal{listed("erin", 9)}, "not a participant"},
		"open, from another role":       {newHouse().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, roleGuest, roleMember), []mls.Proposal{listed("erin", roleMember)}, "not a participant"},
		"changes without canOpenJoin":   {newHouse().change(mimi.RoleNone, mimi.RoleNone, roleMember), []mls.Proposal{listed("erin", roleMember)}, "not a participant"},
		"open, not listed":              {open(roleMember), nil, "adds itself"},
		"open, another user":            {open(roleMember), []mls.Proposal{listed("frank", roleMember)}, "changes nobody else"},
		"open, and another user":        {open(roleMember), []mls.Proposal{listUpdate(mimi.ParticipantListUpdate{Added: []mimi.UserRolePair{{User: user("erin"), Role: roleMember}, {User: user("frank"), Role: roleMember}}})}, "changes nobody else"},
		"open, removes another":         {open(roleMember), []mls.Proposal{listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{3}, Added: []mimi.UserRolePair{{User: user("erin"), Role: roleMember}}})}, "changes nobody else"},
		"open, changes another":         {open(roleMember), []mls.Proposal{listUpdate(mimi.ParticipantListUpdate{ChangedRoles: []mimi.UserIndexRolePair{{Index: 3, Role: roleAdmin}}, Added: []mimi.UserRolePair{{User: user("erin"), Role: roleMember}}})}, "changes nobody else"},
		"open, and renames the room":    {open(roleMember), []mls.Proposal{listed("erin", roleMember), update(mimi.ComponentRoomMetadata, mimi.RoomMetaData{Name: "mine"})}, "updates nothing else"},
		"open, fixed membership":        {open(roleMember).with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{FixedMembership: true, MultiDevice: true}), []mls.Proposal{listed("erin", roleMember)}, "fixed membership"},
		"open, no external Commits":     {open(roleMember).with(mimi.ComponentMLSOperationalPolicy, mimi.OperationalParameters{}), []mls.Proposal{listed("erin", roleMember)}, "no external Commits"},
		"preauthorized":                 {preauthorized(entry(roleGuest, ofA)), []mls.Proposal{listed("erin", roleGuest)}, ""},
		"preauthorized by name":         {preauthorized(entry(roleGuest, claims("sub", user("erin").String(), "", user("erin").String()))), []mls.Proposal{listed("erin", roleGuest)}, ""},
		"preauthorized, second entry":   {preauthorized(entry(roleAdmin, claims("iss", "c.example")), entry(roleGuest, ofA)), []mls.Proposal{listed("erin", roleGuest)}, ""},
		"preauthorized, not the first":  {preauthorized(entry(roleGuest, ofA), entry(roleAdmin, ofA)), []mls.Proposal{listed("erin", roleAdmin)}, "with the role 3"},
		"preauthorized, one claim less": {preauthorized(entry(roleGuest, claims("iss", "a.example", "sub", user("frank").String()))), []mls.Proposal{listed("erin", roleGuest)}, "not a participant"},
		"unknown claim":                 {preauthorized(entry(roleGuest, claims("department", "sales"))), []mls.Proposal{listed("erin", roleGuest)}, "not a participant"},
		"claim of a certificate": {preauthorized(mimi.PreAuthRoleEntry{Role: mimi.Role{Index: roleGuest}, Claims: []mimi.Claim{{ID: mimi.ClaimID{Type: mls.CredentialX509, ID: []byte("iss")}, Value: []byte("a.example")}}}),
			[]mls.Proposal{listed("erin", roleGuest)}, "not a participant"},
		"preauthorized without canJoinIfPreauthorized": {newHouse().with(mimi.ComponentPreauthorization, preauth(entry(roleGuest, ofA))), []mls.Proposal{listed("erin", roleGuest)}, "not a participant"},
		"no roles at all": {&house{list: newHouse().list, clients: newHouse().clients}, []mls.Proposal{listed("erin", roleGuest)}, "no roles_list"},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.house.open(t)
			bundle := m.joinAs("erin", c.list...)
			if c.why != "" {
				m.refused("a.example", bundle, c.why)
				return
			}
			m.accepted("a.example", bundle)
			if m.roleNow("erin") == mimi.RoleNone {
				t.Error("erin is not a participant")
			}
			m.accepted("a.example", m.commit("alice1", true, nil))
		})
	}
}

// update replaces a component.
func update(id mls.ComponentID, data interface{ Marshal() []byte }) mls.Proposal {
	return mls.AppDataUpdate{Component: id, Operation: mls.ComponentUpdate{Update: data.Marshal()}}
}

// Neither a ban nor the lack of canAddOwnClient can be got round by a right that is for strangers.
func TestParticipantsJoinByTheirRole(t *testing.T) {
	everybody := func() *house {
		return newHouse().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleMember).
			allow(roleMember, mimi.CanJoinIfPreauthorized).
			with(mimi.ComponentPreauthorization, preauth(entry(roleMember, claims("iss", "a.example"))))
	}
	m := everybody().open(t)
	m.refused("a.example", m.joinAs("mallory"), "is banned")
	m.refused("a.example", m.joinAs("carol"), "canAddOwnClient")
	m = everybody().allow(roleMember, mimi.CanAddOwnClient).open(t)
	m.refused("a.example", m.joinAs("mallory"), "is banned")
	m.accepted("a.example", m.joinAs("carol"))
	m = (&house{list: newHouse().list, clients: newHouse().clients}).open(t)
	m.accepted("a.example", m.joinAs("carol"))
}

// In a shard of an older format nobody joins but participants, and they do as they did.
func TestPolicyBeginsWithItsFormat(t *testing.T) {
	m := &maker{hub: newHubOf(t, fsm.FormatRevocations)}
	m.open()
	state := m.state()
	if state.policy.Participates(user("erin")) || !state.policy.Participates(user("alice")) {
		t.Error("the participant list is not that of the room")
	}
	if rights, err := joinRights(m.store, state, user("alice"), basic(user("alice").String())); err != nil || len(rights) != 1 {
		t.Errorf("alice may join by %v, %v", rights, err)
	}
}
