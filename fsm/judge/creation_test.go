package judge

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// founded is a group of two that its creator hands in whole: alice1, and a client of bob's under a credential.
func (m *maker) founded(credential string) (Request, error) {
	m.t.Helper()
	key := m.key("alice1")
	members := []mls.KeyPackage{
		m.keyPackage(key, basic(m.client("alice1").URI.String())), m.keyPackage(m.newKey(), basic(credential)),
	}
	nodes := make([][]byte, 3)
	for i, k := range members {
		var w mls.Writer
		w.Uint8(1)
		k.Leaf.AppendTo(&w)
		nodes[2*i] = w.Bytes()
	}
	tree, err := mls.NewRatchetTree(nodes)
	m.ok(err)
	group := m.state().group
	info := mls.GroupInfo{
		Context:         mls.GroupContext{Suite: 1, GroupID: "founded", Epoch: 7, TreeHash: tree.TreeHash(group.Suite()), ConfirmedTranscriptHash: m.random(32)},
		Extensions:      mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: m.random(32)}.Marshal()),
		ConfirmationTag: m.random(32),
	}
	info.Context.Extensions = group.Context().Extensions // alice and bob are its participants
	m.ok(info.Sign(key))
	room, err := mimi.ParseRoomURI("mimi://a.example/r/founded")
	m.ok(err)
	return constructed(NewCreateRoom(room, m.client("alice1").User, info.Marshal(), tree.Marshal()))
}

// claimForFounded maps clients at the room that is to be created.
func (m *maker) claimForFounded(names ...string) {
	m.t.Helper()
	room, err := mimi.ParseRoomURI("mimi://a.example/r/founded")
	m.ok(err)
	for _, name := range names {
		c := m.client(name)
		r, err := NewRecordRoutes(room, []fsm.KeyPackageRoute{{
			Ref: mls.KeyPackageRef(name), Provider: c.User.Provider(), User: c.User, Client: c.URI, NotAfter: m.now/1000 + 1000,
		}})
		want[fsm.Done](m.t, m.do(constructed(r, err)))
	}
}

func TestRoomOfSeveral(t *testing.T) {
	bob1, bob := "mimi://b.example/d/bob1", "mimi://b.example/u/bob"
	for name, c := range map[string]struct {
		claimed    []string
		credential string
		allowed    bool
	}{
		"all mapped":              {[]string{"alice1", "bob1"}, bob1, true},
		"another's client":        {[]string{"alice1"}, bob1, false},
		"the creator's own":       {[]string{"bob1"}, bob1, false},
		"another provider's user": {[]string{"alice1", "bob1"}, bob, false},
		"a local user":            {[]string{"alice1"}, "mimi://a.example/u/alice", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			m.claimForFounded(c.claimed...)
			before := m.digest()
			outcome := m.do(m.founded(c.credential))
			if c.allowed {
				if accepted := want[fsm.Accepted](t, outcome); accepted.Epoch != 7 {
					t.Errorf("%+v", accepted)
				}
				return
			}
			want[fsm.NotAllowed](t, outcome)
			if m.digest() != before {
				t.Error("the refusal changed the state")
			}
		})
	}
}
