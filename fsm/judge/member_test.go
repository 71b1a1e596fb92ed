package judge

import (
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// accepted sends a Commit that the room takes, and holds its retry to the same answer.
func (m *maker) accepted(domain string, bundle mimi.HandshakeBundle) fsm.Accepted {
	m.t.Helper()
	from := provider(m.t, domain)
	accepted := want[fsm.Accepted](m.t, m.send(from, bundle))
	if again := want[fsm.Accepted](m.t, m.send(from, bundle)); again != accepted {
		m.t.Errorf("a retry got %+v, the original %+v", again, accepted)
	}
	return accepted
}

// refused sends what the room does not take, for a reason with this text in it, and which leaves no trace.
func (m *maker) refused(domain string, bundle mimi.HandshakeBundle, reason string) {
	m.t.Helper()
	before := m.digest()
	no := want[fsm.NotAllowed](m.t, m.send(provider(m.t, domain), bundle))
	if !strings.Contains(no.Reason, reason) {
		m.t.Errorf("refused because %q, not %q", no.Reason, reason)
	}
	if m.digest() != before {
		m.t.Error("the refusal changed the state")
	}
}

func (h *hub) digest() [32]byte {
	h.t.Helper()
	sum, err := fsm.Digest(h.store)
	if err != nil {
		h.t.Fatal(err)
	}
	return sum
}

func TestMayBeAdded(t *testing.T) {
	add := func(k mls.KeyPackage) []mls.ProposalOrRef { return inline(mls.Add{KeyPackage: k}) }
	bob := "mimi://b.example/u/bob"
	t.Run("claimed from its client", func(t *testing.T) {
		m := openMaker(t)
		k := m.keyPackage(m.newKey(), basic(m.client("bob1").URI.String()))
		m.route(k, m.client("bob1").URI)
		m.accepted("a.example", m.commit("alice1", false, add(k)))
	})
	t.Run("under the user's own name", func(t *testing.T) {
		m := openMaker(t)
		k := m.keyPackage(m.newKey(), basic(bob))
		m.route(k, m.client("bob1").URI)
		m.accepted("a.example", m.commit("alice1", false, add(k)))
	})
	t.Run("by its own provider", func(t *testing.T) {
		m := openMaker(t)
		m.accepted("b.example", m.commit("bob1", false, add(m.keyPackage(m.newKey(), basic(bob)))))
	})
	t.Run("a user without clients", func(t *testing.T) {
		m := openMaker(t)
		m.accepted("a.example", m.commit("alice1", false, inline(addToList("mimi://c.example/u/carol"))))
	})
	for name, c := range map[string]struct{ credential, routed, reason string }{
		"invented in another provider's name": {bob, "", "not claimed"},
		"invented client":                     {"mimi://b.example/d/bob1", "", "not claimed"},
		"unknown client":                      {"mimi://b.example/d/bob9", "", "no user"},
		"no MIMI name":                        {"bob", "", "no user"},
		"claimed from bob as alice":           {"mimi://a.example/u/alice", "bob1", "claimed from"},
		"claimed from another client":         {"mimi://b.example/d/bob2", "bob1", "claimed from"},
		"the committer's own, not listed":     {"mimi://a.example/u/mallory", "", "no participant"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			k := m.keyPackage(m.newKey(), basic(c.credential))
			if c.routed != "" {
				m.route(k, m.client(c.routed).URI)
			}
			m.refused("a.example", m.commit("alice1", false, add(k)), c.reason)
		})
	}
}

func TestLeavingUserTakesItsClients(t *testing.T) {
	gone := listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{1}})
	remove := func(leaves ...mls.LeafIndex) []mls.ProposalOrRef {
		list := inline(gone)
		for _, i := range leaves {
			list = append(list, mls.InlineProposal{Proposal: mls.Remove{Removed: i}})
		}
		return list
	}
	t.Run("one stays", func(t *testing.T) {
		m := openMaker(t)
		leaves := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob3")}
		m.refused("a.example", m.commit("alice1", true, remove(leaves...), leaves...), "stays a member")
	})
	t.Run("its own", func(t *testing.T) {
		m := openMaker(t)
		m.refused("b.example", m.commit("bob1", false, inline(gone)), "stays a member")
	})
	t.Run("all go, and an old Commit of theirs is still acknowledged", func(t *testing.T) {
		m := openMaker(t)
		theirs := m.commit("bob1", false, inline(m.rename()))
		original := m.accepted("b.example", theirs)
		last := m.commit("bob2", false, inline(m.rename())) // of the epoch that is about to end
		leaves := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")}
		m.accepted("a.example", m.commit("alice1", true, remove(leaves...), leaves...))
		if again := want[fsm.Accepted](t, m.send(provider(t, "b.example"), theirs)); again != original {
			t.Errorf("the retry got %+v, the original %+v", again, original)
		}
		want[fsm.WrongEpoch](t, m.send(provider(t, "b.example"), last))
		want[fsm.NotAllowed](t, m.do(m.groupInfoRequest("bob3", "b.example")))
	})
}

func TestExternalCommit(t *testing.T) {
	bob3 := basic("mimi://b.example/d/bob3")
	t.Run("resync", func(t *testing.T) {
		m := openMaker(t)
		old := m.leaf("bob3")
		m.accepted("b.example", m.join(m.key("bob3"), bob3, inline(mls.Remove{Removed: old}), old))
	})
	t.Run("of a participant under its own name", func(t *testing.T) {
		m := openMaker(t)
		m.accepted("b.example", m.join(m.newKey(), basic("mimi://b.example/u/bob"), nil))
	})
	t.Run("takes another out", func(t *testing.T) {
		m := openMaker(t)
		other := m.leaf("bob1")
		m.refused("b.example", m.join(m.newKey(), bob3, inline(mls.Remove{Removed: other}), other), "another client")
	})
	for name, c := range map[string]struct {
		credential, from string
		list             []mls.ProposalOrRef
		reason           string
	}{
		"stranger":                {"mimi://b.example/u/eve", "b.example", nil, "not a participant"},
		"stranger's client":       {"mimi://b.example/d/eve1", "b.example", nil, "no user"},
		"stranger lists itself":   {"mimi://b.example/u/eve", "b.example", inline(addToList("mimi://b.example/u/eve")), "not a participant"},
		"in another's name":       {"mimi://b.example/u/bob", "a.example", nil, "provider that sent"},
		"its user leaves with it": {"mimi://b.example/u/bob", "b.example", inline(listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{1}})), "stays a member"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			m.refused(c.from, m.join(m.newKey(), basic(c.credential), c.list), c.reason)
		})
	}
}

func TestPolicyOfCommits(t *testing.T) {
	t.Run("SelfRemove", func(t *testing.T) {
		m := openMaker(t)
		leaf := m.leaf("bob2")
		leave := m.message(m.key("bob2"), mls.MemberSender{Leaf: leaf}, mls.SelfRemove{})
		m.accepted("b.example", m.propose(leave))
		m.accepted("a.example", m.commit("alice1", true, []mls.ProposalOrRef{m.refOf(leave)}, leaf))
	})
	t.Run("a Proposal's retry after its epoch", func(t *testing.T) {
		m := openMaker(t)
		bundle := m.propose(m.message(m.key("bob2"), mls.MemberSender{Leaf: m.leaf("bob2")}, m.rename()))
		original := m.accepted("b.example", bundle)
		m.accepted("a.example", m.commit("alice1", false, inline(m.rename())))
		if again := want[fsm.Accepted](t, m.send(provider(t, "b.example"), bundle)); again != original {
			t.Errorf("the retry got %+v, the original %+v", again, original)
		}
	})
	t.Run("the hub's key goes", func(t *testing.T) {
		m := openMaker(t)
		extensions := m.state().group.Context().Extensions.With(mls.ExtensionExternalSenders, mls.ExternalSenders{}.Marshal())
		m.refused("a.example", m.commit("alice1", true, inline(mls.GroupContextExtensions{Extensions: extensions})), "external_senders")
	})
	t.Run("another local domain", func(t *testing.T) {
		m := openMaker(t)
		settings, version, err := fsm.ReadSettings(m.store)
		m.ok(err)
		settings.Domains = append(settings.Domains, provider(t, "a2.example"))
		m.apply(fsm.EnterSettings{Version: version + 1, Settings: settings})
		m.refused("b.example", m.commit("alice1", false, inline(m.rename())), "provider that sent")
		m.accepted("a2.example", m.commit("alice1", false, inline(m.rename())))
	})
	t.Run("the committer takes another name", func(t *testing.T) {
		m := openMaker(t)
		key, at := m.key("alice1"), m.leaf("alice1")
		leaf := *m.state().group.Tree().Leaf(at)
		leaf.Credential = basic("mimi://b.example/u/bob")
		commit := mls.Commit{Path: m.tree(nil).path(at, m.random, leaf, m.state().GroupID, key)}
		m.refused("a.example", m.finish(key, m.message(key, mls.MemberSender{Leaf: at}, commit)), "credential")
	})
}
