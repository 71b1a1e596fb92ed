package judge

import (
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// TestFoundingIsHeldToThePolicy creates rooms whose policy does not fit itself or the members.
func TestFoundingIsHeldToThePolicy(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*house)
		because string
	}{
		"unreadable component": {func(h *house) { h.with(mimi.ComponentBotPolicy, octets{9}) }, "component 0x002f"},
		"unreadable links":     {func(h *house) { h.with(mimi.ComponentJoinLinks, octets{9}) }, "component 0x002a"},
		"undefined role":       {func(h *house) { h.list[3].Role = 9 }, "role 9"},
		"active and banned":    {func(h *house) { h.list[2].Role = roleBanned }, "is banned"},
		"too many of a role":   {func(h *house) { h.bound(roleMember, mimi.Bounds{Max: limit(2)}, mimi.Bounds{}) }, "may have 2 participants"},
		"too many are active":  {func(h *house) { h.bound(roleMember, mimi.Bounds{}, mimi.Bounds{Max: limit(1)}) }, "may have 1 active"},
		"two devices":          {func(h *house) { h.with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{}) }, "may have one client"},
		"max_users": {func(h *house) {
			h.with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true, MaxUsers: limit(3)})
		}, "may have 3 participants"},
		"max_clients": {func(h *house) {
			h.with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true, MaxClients: limit(3)})
		}, "may have 3 clients"},
		"preauthorized to nothing": {func(h *house) { h.with(mimi.ComponentPreauthorization, preauth(entry(9, claims("iss", "a.example")))) }, "role 9"},
		"fixed and open": {func(h *house) {
			h.allow(roleAdmin, mimi.CanAddParticipant).with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true, FixedMembership: true})
		}, "canAddParticipant"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse()
			c.change(h)
			m := foundation(t)
			before := m.state()
			no := want[fsm.NotAllowed](t, h.found(m))
			if !strings.Contains(no.Reason, c.because) {
				t.Errorf("refused because %q, not %q", no.Reason, c.because)
			}
			if m.state().URI != before.URI {
				t.Error("the maker is in another room")
			}
		})
	}
	// A minimum that nobody meets yet does not keep a room from being.
	newHouse().bound(roleGuest, mimi.Bounds{Min: 1}, mimi.Bounds{Min: 1}).open(t)
}

// Who might join by itself may propose its client, and whoever lists it decides on its role only among those that it might have taken.
func TestProposedByAStranger(t *testing.T) {
	for role, allowed := range map[uint32]bool{roleMember: true, roleGuest: false} {
		m := newHouse().changes().allow(roleAdmin, mimi.CanAddParticipant).
			allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleMember).open(t)
		key := m.newKey()
		proposed := m.propose(m.message(key, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(key, basic(user("frank").String()))}))
		m.accepted("a.example", proposed)
		bundle := m.commit("alice1", false, append(m.references(proposed), inline(listed("frank", role))...))
		if allowed {
			m.accepted("a.example", bundle)
		} else {
			m.refused("a.example", bundle, "may not join with the role 4")
		}
	}
	m := newHouse().open(t)
	key := m.newKey()
	m.refused("a.example", m.propose(m.message(key, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(key, basic(user("frank").String()))})), "not a participant")
}
