package judge

import (
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// rule is something that a room's policy decides. Of two houses that differ in it alone, one lets the bundle in and the other does not.
type rule struct {
	name    string
	house   func(allowed bool) *house
	from    string // the domain; a.example where empty
	bundle  func(*maker) mimi.HandshakeBundle
	because string                            // part of the reason
	refused func(*maker) mimi.HandshakeBundle // in place of bundle, where not the house makes the difference
}

// with gives capabilities to a role where they are allowed.
func (h *house) granted(allowed bool, role uint32, capabilities ...mimi.Capability) *house {
	if allowed {
		h.allow(role, capabilities...)
	}
	return h
}

// changes lets the admin make every change of another's role, and a member leave.
func (h *house) changes() *house {
	return h.change(roleAdmin, mimi.RoleNone, roleBanned, roleMember, roleAdmin, roleGuest).
		change(roleAdmin, roleBanned, mimi.RoleNone, roleMember).
		change(roleAdmin, roleMember, mimi.RoleNone, roleBanned, roleAdmin, roleGuest).
		change(roleAdmin, roleGuest, mimi.RoleNone, roleMember).
		change(roleMember, roleMember, mimi.RoleNone)
}

// byAdmin is a rule on a capability of alice, who commits Proposals.
func byAdmin(c mimi.Capability, list ...mls.Proposal) rule {
	return rule{
		name:    c.String(),
		house:   func(allowed bool) *house { return newHouse().changes().granted(allowed, roleAdmin, c) },
		bundle:  func(m *maker) mimi.HandshakeBundle { return m.commit("alice1", false, inline(list...)) },
		because: c.String(),
	}
}

func (r rule) but(name string) rule {
	r.name += ", " + name
	return r
}

// removing commits Proposals of alice's, and with them the Removes of clients.
func removing(list []mls.Proposal, names ...string) func(*maker) mimi.HandshakeBundle {
	return func(m *maker) mimi.HandshakeBundle {
		all := inline(list...)
		var leaves []mls.LeafIndex
		for _, name := range names {
			leaves = append(leaves, m.leaf(name))
			all = append(all, mls.InlineProposal{Proposal: mls.Remove{Removed: m.leaf(name)}})
		}
		return m.commit("alice1", true, all, leaves...)
	}
}

// proposing is a bundle of Proposals of one member.
func proposing(name string, list ...mls.Proposal) func(*maker) mimi.HandshakeBundle {
	return func(m *maker) mimi.HandshakeBundle {
		var messages []mls.MLSMessage
		for _, p := range list {
			messages = append(messages, m.message(m.key(name), mls.MemberSender{Leaf: m.leaf(name)}, p))
		}
		return m.propose(messages...)
	}
}

// The places of the participant list of a house.
const (
	placeAlice uint32 = iota
	placeBob
	placeCarol
	placeDave
	placeMallory
)

func moved(place, role uint32) mls.Proposal {
	return listUpdate(mimi.ParticipantListUpdate{ChangedRoles: []mimi.UserIndexRolePair{{Index: place, Role: role}}})
}

func unlisted(place uint32) mls.Proposal {
	return listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{place}})
}

func capabilityRules() []rule {
	metadata := func(d mimi.RoomMetaData) mls.Proposal { return update(mimi.ComponentRoomMetadata, d) }
	again := newHouse().changes().roles
	again[1].Description = "may not take part"
	removeDave, banCarol := unlisted(placeDave), moved(placeCarol, roleBanned)
	remove, ban := byAdmin(mimi.CanRemoveParticipant, removeDave), byAdmin(mimi.CanBan)
	ban.bundle = removing([]mls.Proposal{banCarol}, "carol1")
	removeCarol := byAdmin(mimi.CanRemoveParticipant)
	removeCarol.bundle = removing([]mls.Proposal{unlisted(placeCarol)}, "carol1")
	kick := byAdmin(mimi.CanKick)
	kick.bundle = removing(nil, "carol1")
	add := byAdmin(mimi.CanAddParticipant)
	add.bundle = func(m *maker) mimi.HandshakeBundle {
		return m.commit("alice1", false, inline(listed("erin", roleMember), mls.Add{KeyPackage: m.packageOf("erin1")}))
	}
	addLater := byAdmin(mimi.CanAddParticipant)
	addLater.bundle = func(m *maker) mimi.HandshakeBundle {
		return m.commit("alice1", false, inline(mls.Add{KeyPackage: m.packageOf("dave1")}))
	}
	own := byAdmin(mimi.CanChangeOwnRole, moved(placeAlice, roleGuest))
	own.house = func(allowed bool) *house {
		return newHouse().granted(allowed, roleAdmin, mimi.CanChangeOwnRole).
			with(mimi.ComponentPreauthorization, preauth(entry(roleGuest, claims("iss", "a.example"))))
	}
	links := update(mimi.ComponentJoinLinks, mimi.JoinLinksUpdate{Added: mimi.JoinLinks{[]byte("link")}})
	linked := byAdmin(mimi.CanChangeOtherPolicyAttribute, links).but("join links")
	linked.because = "canCreateJoinCode"
	early := byAdmin(mimi.CanBan, listed("erin", roleBanned)).but("before it joins")
	early.because = "canAddParticipant"
	return []rule{
		byAdmin(mimi.CanAddParticipant, listed("erin", roleMember)), add.but("and a client"), addLater.but("a client later"),
		byAdmin(mimi.CanAddParticipant, listed("erin", roleBanned)).but("as banned"),
		early,
		remove, removeCarol.but("with its client"), ban, kick,
		byAdmin(mimi.CanBan, moved(placeDave, roleBanned)).but("without a client"),
		byAdmin(mimi.CanUnBan, moved(placeMallory, roleMember)),
		byAdmin(mimi.CanChangeUserRole, moved(placeDave, roleGuest)), own,
		byAdmin(mimi.CanRemoveParticipant, unlisted(placeMallory)).but("who is banned"),
		byAdmin(mimi.CanChangeRoomName, metadata(mimi.RoomMetaData{Name: "Den"})),
		byAdmin(mimi.CanChangeRoomDescription, metadata(mimi.RoomMetaData{Descriptions: []mimi.RichDescription{{Content: []byte("a den")}}})),
		byAdmin(mimi.CanChangeRoomAvatar, metadata(mimi.RoomMetaData{Avatar: "https://a.example/den.png"})),
		byAdmin(mimi.CanChangeRoomSubject, metadata(mimi.RoomMetaData{Subject: "all"})),
		byAdmin(mimi.CanChangeRoomMood, metadata(mimi.RoomMetaData{Mood: "calm"})),
		byAdmin(mimi.CanChangeRoleDefinitions, update(mimi.ComponentRoles, mimi.RoleData{Roles: again})),
		byAdmin(mimi.CanChangePreauthorizedUserList, update(mimi.ComponentPreauthorization, mimi.PreAuthData{})),
		byAdmin(mimi.CanChangeRoomMembershipStyle, update(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true})),
		byAdmin(mimi.CanChangeMlsOperationalPolicies, update(mimi.ComponentMLSOperationalPolicy, mimi.OperationalParameters{})),
		byAdmin(mimi.CanChangeOtherPolicyAttribute, update(mimi.ComponentStatusNotification, octets{0, 1})),
		linked,
		byAdmin(mimi.CanCreateJoinCode, links),
		{
			name: "canDeleteJoinCode",
			house: func(allowed bool) *house {
				return newHouse().granted(allowed, roleAdmin, mimi.CanDeleteJoinCode).with(mimi.ComponentJoinLinks, mimi.JoinLinks{[]byte("link")})
			},
			bundle: func(m *maker) mimi.HandshakeBundle {
				return m.commit("alice1", false, inline(update(mimi.ComponentJoinLinks, mimi.JoinLinksUpdate{Removed: []uint32{0}})))
			},
			because: "canDeleteJoinCode",
		},
		{
			name: "join links go altogether",
			house: func(allowed bool) *house {
				return newHouse().allow(roleAdmin, mimi.CanDeleteJoinCode).granted(allowed, roleAdmin, mimi.CanChangeOtherPolicyAttribute).with(mimi.ComponentJoinLinks, mimi.JoinLinks{[]byte("link")})
			},
			bundle:  byAlice(mls.AppDataUpdate{Component: mimi.ComponentJoinLinks, Operation: mls.ComponentRemove{}}),
			because: "canChangeOtherPolicyAttribute",
		},
	}
}

// octets are a component's data as they are.
type octets []byte

func (o octets) Marshal() []byte { return o }

// ownRules are on what one does with oneself, and on Proposals.
func ownRules() []rule {
	bymember := func(capabilities ...mimi.Capability) func(bool) *house {
		return func(allowed bool) *house { return newHouse().changes().granted(allowed, roleMember, capabilities...) }
	}
	byadmin := func(capabilities ...mimi.Capability) func(bool) *house {
		return func(allowed bool) *house { return newHouse().changes().granted(allowed, roleAdmin, capabilities...) }
	}
	removal := func(name string) func(*maker) mimi.HandshakeBundle {
		return func(m *maker) mimi.HandshakeBundle { return proposing("alice1", mls.Remove{Removed: m.leaf(name)})(m) }
	}
	reserved := func(c mimi.Capability) func(bool) *house {
		return func(allowed bool) *house { return newHouse().allow(roleGuest, c).granted(allowed, roleAdmin, c) }
	}
	return []rule{
		{"own client is added", bymember(mimi.CanAddOwnClient), "", func(m *maker) mimi.HandshakeBundle {
			return m.commit("carol1", false, inline(mls.Add{KeyPackage: m.keyPackage(m.newKey(), basic(user("carol").String()))}))
		}, "canAddOwnClient", nil},
		{"own client is proposed", bymember(mimi.CanAddOwnClient), "", func(m *maker) mimi.HandshakeBundle {
			return proposing("carol1", mls.Add{KeyPackage: m.keyPackage(m.newKey(), basic(user("carol").String()))})(m)
		}, "canAddOwnClient", nil},
		{"own client proposes itself", bymember(mimi.CanAddOwnClient), "", func(m *maker) mimi.HandshakeBundle {
			key := m.newKey()
			return m.propose(m.message(key, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(key, basic(user("carol").String()))}))
		}, "canAddOwnClient", nil},
		{"own client joins", bymember(mimi.CanAddOwnClient), "", func(m *maker) mimi.HandshakeBundle { return m.joinAs("carol") }, "canAddOwnClient", nil},
		{"SelfRemove", bymember(mimi.CanRemoveOwnClient), "", proposing("carol1", mls.SelfRemove{}), "canRemoveOwnClient", nil},
		{"own client is removed", bymember(mimi.CanRemoveOwnClient), "b.example", func(m *maker) mimi.HandshakeBundle {
			leaf := m.leaf("bob2")
			return m.commit("bob1", true, inline(mls.Remove{Removed: leaf}), leaf)
		}, "canRemoveOwnClient", nil},
		{"leaving", bymember(mimi.CanRemoveSelf), "", proposing("carol1", unlisted(placeCarol), mls.SelfRemove{}), "canRemoveSelf", nil},
		{"removal is proposed, kick", byadmin(mimi.CanKick), "", removal("carol1"), "canKick", nil},
		{"removal is proposed, of the participant", byadmin(mimi.CanRemoveParticipant), "", removal("carol1"), "canKick", nil},
		{"removal is proposed, ban", byadmin(mimi.CanBan), "", removal("carol1"), "canKick", nil},
		{"Update", reserved(mimi.CanSendMLSUpdateProposal), "", func(m *maker) mimi.HandshakeBundle {
			at := m.leaf("alice1")
			leaf := *m.state().group.Tree().Leaf(at)
			leaf.EncryptionKey, leaf.Source = m.random(32), mls.LeafUpdate{}
			m.ok(leaf.Sign(m.key("alice1"), mls.LeafPlace{GroupID: m.state().GroupID, Leaf: at}))
			return proposing("alice1", mls.Update{Leaf: leaf})(m)
		}, "canSendMLSUpdateProposal", nil},
		{"PreSharedKey", reserved(mimi.CanSendMLSPSKProposal), "", func(m *maker) mimi.HandshakeBundle {
			return m.commit("alice1", false, inline(mls.PreSharedKey{PSK: mls.PreSharedKeyID{Source: mls.ExternalPSK{ID: []byte("psk")}, Nonce: m.random(32)}}))
		}, "canSendMLSPSKProposal", nil},
		{"external Commit", func(allowed bool) *house {
			return newHouse().allow(roleMember, mimi.CanAddOwnClient).allow(roleGuest, mimi.CanSendMLSExternalCommit).granted(allowed, roleMember, mimi.CanSendMLSExternalCommit)
		}, "", func(m *maker) mimi.HandshakeBundle { return m.joinAs("carol") }, "canSendMLSExternalCommit", nil},
		{"external Proposal", func(allowed bool) *house {
			return newHouse().allow(roleMember, mimi.CanAddOwnClient).allow(roleGuest, mimi.CanSendMLSExternalProposal).granted(allowed, roleMember, mimi.CanSendMLSExternalProposal)
		}, "", func(m *maker) mimi.HandshakeBundle {
			key := m.newKey()
			return m.propose(m.message(key, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(key, basic(user("carol").String()))}))
		}, "canSendMLSExternalProposal", nil},
		{"external sender", func(allowed bool) *house {
			h := newHouse().changes().allow(roleAdmin, mimi.CanAddParticipant)
			if allowed {
				h.with(mimi.ComponentPreauthorization, preauth(entry(roleAdmin, claims("sub", "mimi://a.example"))))
			}
			return h
		}, "", func(m *maker) mimi.HandshakeBundle {
			return m.propose(m.message(m.keyOf(m.recording.HubKey.Seed), mls.ExternalSenderIndex(0), listed("erin", roleMember)))
		}, "canAddParticipant", nil},
	}
}

func TestRoomPolicy(t *testing.T) {
	rules := slices.Concat(capabilityRules(), ownRules(), changeRules(), boundRules(), baseRules(), operationalRules(), extensionRules())
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			from := r.from
			if from == "" {
				from = "a.example"
			}
			m := r.house(true).open(t)
			m.accepted(from, r.bundle(m))
			m = r.house(false).open(t)
			if r.refused != nil {
				r.bundle = r.refused
			}
			m.against(from, r.bundle(m), r.because)
		})
	}
}

// against sends what the room's policy does not let in, for a reason with this text in it, and which leaves no trace.
func (m *maker) against(domain string, bundle mimi.HandshakeBundle, reason string) {
	m.t.Helper()
	m.frozen = true
	before := m.digest()
	text := ""
	switch no := m.send(provider(m.t, domain), bundle).(type) {
	case fsm.NotAllowed:
		text = no.Reason
	case fsm.InvalidProposal:
		text = no.Reason
	default:
		m.t.Fatalf("it got %T %+v", no, no)
	}
	if !strings.Contains(text, reason) {
		m.t.Errorf("refused because %q, not %q", text, reason)
	}
	if m.digest() != before {
		m.t.Error("the refusal changed the state")
	}
}

// A Proposal is judged for whoever proposed it, whoever commits it; and what a Proposal was let in for has to stand beside it.
func TestProposalsAreJudgedForTheirSenders(t *testing.T) {
	m := newHouse().changes().allow(roleAdmin, mimi.CanAddParticipant).open(t)
	m.refused("a.example", m.commit("carol1", false, inline(listed("erin", roleMember))), "canAddParticipant")
	proposed := proposing("alice1", listed("erin", roleMember))(m)
	m.accepted("a.example", proposed)
	m.accepted("a.example", m.commit("carol1", false, m.references(proposed)))
	if m.roleNow("erin") != roleMember {
		t.Error("erin is not a member")
	}

	m = newHouse().changes().allow(roleAdmin, mimi.CanRemoveParticipant).open(t)
	leaf := m.leaf("carol1")
	removal, departure := proposing("alice1", mls.Remove{Removed: leaf})(m), proposing("alice1", unlisted(placeCarol))(m)
	m.accepted("a.example", removal)
	m.refused("b.example", m.commit("bob1", true, m.references(removal), leaf), "canKick")
	m.accepted("a.example", departure)
	m.accepted("b.example", m.commit("bob1", true, append(m.references(removal), m.references(departure)...), leaf))
}
