package judge

import (
	"parley/mimi"
	"parley/mls"
)

// byAlice is a Commit of alice's without a path.
func byAlice(list ...mls.Proposal) func(*maker) mimi.HandshakeBundle {
	return func(m *maker) mimi.HandshakeBundle { return m.commit("alice1", false, inline(list...)) }
}

// adding is a Commit in which alice adds a client.
func adding(name string) func(*maker) mimi.HandshakeBundle {
	return func(m *maker) mimi.HandshakeBundle { return byAlice(mls.Add{KeyPackage: m.packageOf(name)})(m) }
}

func joining(name string) func(*maker) mimi.HandshakeBundle {
	return func(m *maker) mimi.HandshakeBundle { return m.joinAs(name) }
}

// changeRules are on authorized_role_changes: the capability is there, and the change is not.
func changeRules() []rule {
	moving := func(name string, c mimi.Capability, role, from, to uint32, bundle func(*maker) mimi.HandshakeBundle) rule {
		return rule{name: name, house: func(allowed bool) *house {
			if allowed {
				return newHouse().allow(role, c).change(role, from, to)
			}
			return newHouse().allow(role, c).change(role, to, from)
		}, bundle: bundle, because: "authorized_role_changes"}
	}
	return []rule{
		moving("added to a role", mimi.CanAddParticipant, roleAdmin, mimi.RoleNone, roleMember, byAlice(listed("erin", roleMember))),
		moving("a client of a role", mimi.CanAddParticipant, roleAdmin, mimi.RoleNone, roleMember, adding("dave1")),
		moving("removed from a role", mimi.CanRemoveParticipant, roleAdmin, roleMember, mimi.RoleNone, byAlice(unlisted(placeDave))),
		moving("moved", mimi.CanChangeUserRole, roleAdmin, roleMember, roleGuest, byAlice(moved(placeDave, roleGuest))),
		moving("banned from a role", mimi.CanBan, roleAdmin, roleMember, roleBanned, byAlice(moved(placeDave, roleBanned))),
		moving("unbanned to a role", mimi.CanUnBan, roleAdmin, roleBanned, roleMember, byAlice(moved(placeMallory, roleMember))),
		moving("leaving a role", mimi.CanRemoveSelf, roleMember, roleMember, mimi.RoleNone, proposing("carol1", unlisted(placeCarol))),
		{name: "own role, to the first entry", house: func(allowed bool) *house {
			first := claims("iss", "a.example")
			if allowed {
				first = claims("iss", "c.example")
			}
			return newHouse().allow(roleAdmin, mimi.CanChangeOwnRole).
				with(mimi.ComponentPreauthorization, preauth(entry(roleMember, first), entry(roleGuest, claims("iss", "a.example"))))
		}, bundle: byAlice(moved(placeAlice, roleGuest)), because: "only to the first"},
	}
}

// freeHouse lets alice do everything that the rules of limits try.
func freeHouse() *house {
	return newHouse().changes().allow(roleAdmin,
		mimi.CanAddParticipant, mimi.CanRemoveParticipant, mimi.CanChangeUserRole, mimi.CanKick, mimi.CanChangeRoleDefinitions, mimi.CanBan,
		mimi.CanChangePreauthorizedUserList, mimi.CanChangeRoomMembershipStyle, mimi.CanChangeRoomName,
	).allow(roleMember, mimi.CanAddOwnClient, mimi.CanRemoveSelf, mimi.CanRemoveOwnClient)
}

// free is a house in which only the Proposals make the difference.
func free(bool) *house { return freeHouse() }

// unless limits a free house where that is to refuse something.
func unless(limit func(*house)) func(bool) *house {
	return func(allowed bool) *house {
		h := freeHouse()
		if !allowed {
			limit(h)
		}
		return h
	}
}

func boundRules() []rule {
	bound := func(role uint32, participants, active mimi.Bounds) func(bool) *house {
		return unless(func(h *house) { h.bound(role, participants, active) })
	}
	none := mimi.Bounds{}
	atMost := func(n uint32) mimi.Bounds { return mimi.Bounds{Max: limit(n)} }
	atLeast := func(n uint32) mimi.Bounds { return mimi.Bounds{Min: n} }
	return []rule{
		{name: "maximum", house: bound(roleMember, atMost(3), none), bundle: byAlice(listed("erin", roleMember)), because: "may have 3 participants"},
		{name: "maximum, moved", house: bound(roleGuest, atMost(0), none), bundle: byAlice(moved(placeDave, roleGuest)), because: "may have 0 participants"},
		{name: "minimum", house: bound(roleMember, atLeast(3), none), bundle: byAlice(unlisted(placeDave)), because: "must have 3 participants"},
		{name: "minimum, moved", house: bound(roleMember, atLeast(3), none), bundle: byAlice(moved(placeDave, roleGuest)), because: "must have 3 participants"},
		{name: "active maximum", house: bound(roleMember, none, atMost(2)), bundle: adding("dave1"), because: "may have 2 active"},
		{name: "active maximum, moved", house: bound(roleGuest, none, atMost(0)), bundle: byAlice(moved(placeCarol, roleGuest)), because: "may have 0 active"},
		{name: "active maximum, joined", house: func(allowed bool) *house {
			h := freeHouse().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleGuest)
			if !allowed {
				h.bound(roleGuest, none, atMost(0))
			}
			return h
		}, bundle: func(m *maker) mimi.HandshakeBundle { return m.joinAs("erin", listed("erin", roleGuest)) }, because: "may have 0 active"},
		{name: "active minimum", house: bound(roleMember, none, atLeast(2)), bundle: removing(nil, "carol1"), because: "must have 2 active"},
		{name: "active minimum, moved", house: bound(roleMember, none, atLeast(2)), bundle: byAlice(moved(placeCarol, roleGuest)), because: "must have 2 active"},
		{name: "below the minimum before", house: func(allowed bool) *house {
			h := freeHouse().bound(roleMember, atLeast(9), none)
			if allowed {
				h.bound(roleMember, none, none).bound(roleGuest, atLeast(1), atLeast(1)) // nobody is one
			}
			return h
		}, bundle: byAlice(unlisted(placeDave)), because: "must have 9 participants"},
		{name: "ban without its clients", house: free, bundle: removing([]mls.Proposal{moved(placeCarol, roleBanned)}, "carol1"),
			refused: byAlice(moved(placeCarol, roleBanned)), because: "a client of it stays"},
		{name: "client of the banned", house: free, bundle: adding("dave1"), refused: adding("mallory1"), because: "is banned"},
	}
}

func baseRules() []rule {
	base := func(p mimi.BaseRoomPolicy) func(bool) *house {
		return unless(func(h *house) { h.with(mimi.ComponentBaseRoomPolicy, p) })
	}
	single := func(clients ...string) func(bool) *house {
		return func(allowed bool) *house {
			h := freeHouse().with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: allowed})
			h.clients = clients
			return h
		}
	}
	fixed := mimi.BaseRoomPolicy{MultiDevice: true, FixedMembership: true}
	style := func(p mimi.BaseRoomPolicy) func(*maker) mimi.HandshakeBundle {
		return byAlice(update(mimi.ComponentBaseRoomPolicy, p))
	}
	plain := style(mimi.BaseRoomPolicy{MultiDevice: true})
	unchanging := func(h *house) { // no role may add, so that the room may be fixed
		h.roles[roleAdmin].Capabilities = []mimi.Capability{mimi.CanRemoveParticipant, mimi.CanBan}
		h.with(mimi.ComponentBaseRoomPolicy, fixed)
	}
	under := func(bool) *house {
		return freeHouse().with(mimi.ComponentBaseRoomPolicy, dependingOn("mimi://a.example/r/parent"))
	}
	return []rule{
		{name: "max_users", house: base(mimi.BaseRoomPolicy{MultiDevice: true, MaxUsers: limit(4)}), bundle: byAlice(listed("erin", roleMember)), because: "may have 4 participants"},
		{name: "max_users, the banned", house: base(mimi.BaseRoomPolicy{MultiDevice: true, MaxUsers: limit(4)}), bundle: byAlice(moved(placeMallory, roleMember)), because: "would have 5"},
		{name: "max_clients", house: base(mimi.BaseRoomPolicy{MultiDevice: true, MaxClients: limit(4)}), bundle: adding("dave1"), because: "may have 4 clients"},
		{name: "multi_device", house: single("alice1", "bob1", "carol1"), bundle: joining("carol"), because: "may have one client"},
		{name: "multi_device ends", house: free, bundle: plain, refused: style(mimi.BaseRoomPolicy{}), because: "may have one client"},
		{name: "max_users falls", house: free, bundle: plain, refused: style(mimi.BaseRoomPolicy{MultiDevice: true, MaxUsers: limit(3)}), because: "may have 3 participants"},
		{name: "fixed_membership, removed", house: unless(unchanging), bundle: byAlice(unlisted(placeDave)), because: "fixed membership"},
		{name: "fixed_membership, leaving", house: unless(unchanging), bundle: proposing("carol1", unlisted(placeCarol)), because: "fixed membership"},
		{name: "fixed_membership, added", house: unless(unchanging), bundle: byAlice(listed("erin", roleMember)), because: "fixed membership"},
		{name: "fixed_membership, later", house: func(bool) *house {
			h := freeHouse()
			h.roles[roleAdmin].Capabilities = []mimi.Capability{mimi.CanChangeRoomMembershipStyle}
			return h
		}, bundle: plain, refused: style(fixed), because: "from its creation on"},
		{name: "parent_dependant, later", house: free, bundle: plain, refused: style(dependingOn("mimi://a.example/r/parent")), because: "cannot change"},
		{name: "parent_dependant, other parent", house: under, bundle: style(dependingOn("mimi://a.example/r/parent")),
			refused: style(dependingOn("mimi://a.example/r/other")), because: "cannot change"},
		{name: "parent_dependant, no more", house: under, bundle: style(dependingOn("mimi://a.example/r/parent")), refused: plain, because: "cannot change"},
		{name: "fixed_membership, canAddParticipant", house: free, bundle: plain, refused: style(fixed), because: "no role has canAddParticipant"},
		{name: "undefined role", house: free, bundle: byAlice(listed("erin", roleMember)), refused: byAlice(listed("erin", 9)), because: "role 9 is not defined"},
		{name: "undefined role, moved", house: free, bundle: byAlice(moved(placeDave, roleGuest)), refused: byAlice(moved(placeDave, 9)), because: "role 9 is not defined"},
		{name: "a role with holders goes", house: free, bundle: rolesWithout(roleGuest), refused: rolesWithout(roleMember), because: "role 2, which is not defined"},
		{name: "all roles go", house: free, bundle: plain, refused: byAlice(mls.AppDataUpdate{Component: mimi.ComponentRoles, Operation: mls.ComponentRemove{}}), because: "cannot be removed"},
		{name: "a role that is preauthorized goes", house: unless(func(h *house) {
			h.with(mimi.ComponentPreauthorization, preauth(entry(roleGuest, claims("iss", "a.example"))))
		}), bundle: rolesWithout(roleGuest), because: "gives the role 4"},
		{name: "roles and list", house: free, bundle: rolesWithout(roleGuest), because: "do not change in one Commit", refused: func(m *maker) mimi.HandshakeBundle {
			return byAlice(rolesUpdate(roleGuest), unlisted(placeDave))(m)
		}},
		{name: "preauthorized users and list", house: free, because: "may only lose users",
			bundle:  byAlice(update(mimi.ComponentPreauthorization, mimi.PreAuthData{}), unlisted(placeDave)),
			refused: byAlice(update(mimi.ComponentPreauthorization, mimi.PreAuthData{}), listed("erin", roleMember))},
		{name: "room_uri", house: func(bool) *house {
			return freeHouse().with(mimi.ComponentRoomMetadata, mimi.RoomMetaData{URI: "mimi://a.example/r/house"})
		},
			bundle:  byAlice(update(mimi.ComponentRoomMetadata, mimi.RoomMetaData{URI: "mimi://a.example/r/house", Name: "Den"})),
			refused: byAlice(update(mimi.ComponentRoomMetadata, mimi.RoomMetaData{URI: "mimi://a.example/r/den", Name: "Den"})), because: "room_uri"},
	}
}

func rolesUpdate(without uint32) mls.Proposal {
	var roles []mimi.Role
	for _, r := range freeHouse().roles {
		if r.Index != without {
			roles = append(roles, r)
		}
	}
	return update(mimi.ComponentRoles, mimi.RoleData{Roles: roles})
}

func rolesWithout(role uint32) func(*maker) mimi.HandshakeBundle { return byAlice(rolesUpdate(role)) }

func operationalRules() []rule {
	operational := func(limit func(*mimi.OperationalParameters)) func(bool) *house {
		return func(allowed bool) *house {
			p := mimi.OperationalParameters{ExternalCommits: true, ExternalProposals: true}
			if !allowed {
				limit(&p)
			}
			return freeHouse().with(mimi.ComponentMLSOperationalPolicy, p)
		}
	}
	type parameters = mimi.OperationalParameters
	newcomer := func(m *maker) mimi.HandshakeBundle {
		key := m.newKey()
		return m.propose(m.message(key, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(key, basic(user("carol").String()))}))
	}
	return []rule{
		{name: "external_commit_allowed", house: operational(func(p *parameters) { p.ExternalCommits = false }), bundle: joining("carol"), because: "no external Commits"},
		{name: "external_proposal_allowed", house: operational(func(p *parameters) { p.ExternalProposals = false }), bundle: newcomer, because: "no external Proposals"},
		{name: "handshake_formats", house: operational(func(p *parameters) { p.HandshakeFormats = []mls.WireFormats{{0xf001}} }), bundle: byAlice(unlisted(placeDave)), because: "wire format 1"},
		{name: "handshake_formats, Proposals", house: operational(func(p *parameters) { p.HandshakeFormats = []mls.WireFormats{{0xf001}} }), bundle: proposing("carol1", mls.SelfRemove{}), because: "wire format 1"},
		{name: "max_kp_lifetime", house: operational(func(p *parameters) { p.KeyPackageLifetimeMax = 1999 }), bundle: adding("dave1"), because: "max_kp_lifetime"},
		{name: "max_kp_lifetime, Proposals", house: operational(func(p *parameters) { p.KeyPackageLifetimeMax = 1999 }), bundle: newcomer, because: "max_kp_lifetime"},
		{name: "mandatory_capabilities", house: operational(func(p *parameters) { p.Mandatory.Leaf.Extensions = []mls.ExtensionType{1, 0xf001} }), bundle: adding("dave1"), because: "extension 0xf001, which the room's operational policy demands"},
		{name: "mandatory component", house: operational(func(p *parameters) { p.Mandatory.Components = []mls.ComponentID{0xf002} }), bundle: adding("dave1"), because: "component 0xf002"},
		{name: "mandatory wire format", house: operational(func(p *parameters) { p.Mandatory.WireFormats = []mls.WireFormats{{1}, {0xf003}} }), bundle: joining("carol"), because: "wire format 0xf003"},
		{name: "forbidden_capabilities", house: operational(func(p *parameters) { p.Forbidden.Leaf.Proposals = []mls.ProposalType{mls.ProposalSelfRemove} }), bundle: adding("dave1"), because: "forbids"},
		{name: "forbidden, joined", house: operational(func(p *parameters) { p.Forbidden.Leaf.Suites = []mls.CipherSuite{1} }), bundle: joining("carol"), because: "forbids"},
	}
}

// extensionRules are on GroupContextExtensions.
func extensionRules() []rule {
	replaced := func(change func(m *maker, e mls.Extensions) mls.Extensions) func(*maker) mimi.HandshakeBundle {
		return func(m *maker) mimi.HandshakeBundle {
			extensions := change(m, m.state().group.Context().Extensions)
			return m.commit("alice1", true, inline(mls.GroupContextExtensions{Extensions: extensions}))
		}
	}
	sender := func(m *maker, e mls.Extensions, identity string) mls.Extensions {
		list, err := m.state().group.ExternalSenders()
		m.ok(err)
		list = append(list, mls.ExternalSender{SignatureKey: m.newKey().Public(), Credential: basic(identity)})
		return e.With(mls.ExtensionExternalSenders, list.Marshal())
	}
	loose := func(allowed bool) *house {
		h := newHouse().granted(allowed, roleAdmin, mimi.CanChangeMlsOperationalPolicies)
		h.loose = true
		return h
	}
	dictionary := func(id mls.ComponentID, data []byte) func(*maker) mimi.HandshakeBundle {
		return replaced(func(m *maker, e mls.Extensions) mls.Extensions {
			d, err := e.Dictionary()
			m.ok(err)
			return e.With(mls.ExtensionAppDataDictionary, d.With(id, data).Marshal())
		})
	}
	operational := func(allowed bool) *house {
		return newHouse().granted(allowed, roleAdmin, mimi.CanChangeMlsOperationalPolicies)
	}
	return []rule{
		{name: "safe_aad", house: loose, bundle: dictionary(mls.ComponentSafeAAD, mls.ComponentsList{}.Marshal()), because: "canChangeMlsOperationalPolicies"},
		{name: "roles by extensions", house: func(bool) *house { return loose(true) }, bundle: dictionary(mls.ComponentSafeAAD, mls.ComponentsList{}.Marshal()),
			refused: dictionary(mimi.ComponentRoles, mimi.RoleData{}.Marshal()), because: "by an AppDataUpdate only"},
		{name: "required_capabilities", house: operational, because: "canChangeMlsOperationalPolicies", bundle: replaced(func(_ *maker, e mls.Extensions) mls.Extensions {
			return e.With(mls.ExtensionRequiredCapabilities, mls.RequiredCapabilities{Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate}}.Marshal())
		})},
		{name: "external_senders, a provider without participants", house: operational, because: "no participant", bundle: replaced(func(m *maker, e mls.Extensions) mls.Extensions {
			return sender(m, e, "mimi://c.example")
		})},
		{name: "external_senders, none of a provider with participants", house: operational, because: "provider has participants", bundle: replaced(func(m *maker, e mls.Extensions) mls.Extensions {
			list, err := m.state().group.ExternalSenders()
			m.ok(err)
			return e.With(mls.ExtensionExternalSenders, append(mls.ExternalSenders{{SignatureKey: list[0].SignatureKey, Credential: basic("mimi://b.example")}}, list[1:]...).Marshal())
		})},
		{name: "external_senders, a provider with participants", house: free, because: "no participant",
			bundle:  replaced(func(m *maker, e mls.Extensions) mls.Extensions { return sender(m, e, "mimi://b.example") }),
			refused: replaced(func(m *maker, e mls.Extensions) mls.Extensions { return sender(m, e, "mimi://c.example") })},
	}
}
