package judge

import (
	"bytes"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// The roles of a house. Role 0 is that of who is not in the list.
const (
	roleBanned uint32 = 1
	roleMember uint32 = 2
	roleAdmin  uint32 = 3
	roleGuest  uint32 = 4
)

// house is a room with a policy of its own, to be opened: alice is its admin, bob and carol are members, dave is one without a
// client, mallory is banned. Bob has two clients, the others with clients have one. Bob is of b.example, the others of a.example.
type house struct {
	unreserved bool // its participants are not reserved, although it is of fixed membership
	roles      []mimi.Role
	list       []mimi.UserRolePair
	clients    []string // whose leaves are in the group; the first is the creator's
	components map[mls.ComponentID][]byte
	loose      bool // the group does not require app_data_update, so that GroupContextExtensions may change the dictionary
}

func newHouse() *house {
	return &house{
		roles: []mimi.Role{
			{Index: mimi.RoleNone, Name: "none"},
			{Index: roleBanned, Name: "banned", Active: mimi.Bounds{Max: limit(0)}},
			{Index: roleMember, Name: "member"},
			{Index: roleAdmin, Name: "admin"},
			{Index: roleGuest, Name: "guest"},
		},
		list: []mimi.UserRolePair{
			{User: user("alice"), Role: roleAdmin}, {User: user("bob"), Role: roleMember}, {User: user("carol"), Role: roleMember},
			{User: user("dave"), Role: roleMember}, {User: user("mallory"), Role: roleBanned},
		},
		clients:    []string{"alice1", "bob1", "bob2", "carol1"},
		components: make(map[mls.ComponentID][]byte),
	}
}

func limit(n uint32) *uint32 { return &n }

// user is bob of b.example, or anybody else of a.example.
func user(name string) mimi.UserURI {
	domain := "a.example"
	if name == "bob" {
		domain = "b.example"
	}
	uri, err := mimi.ParseUserURI("mimi://" + domain + "/u/" + name)
	if err != nil {
		panic(err)
	}
	return uri
}

func domainOfUser(name string) string { return user(name).Provider().String() }

// allow gives capabilities to a role.
func (h *house) allow(role uint32, capabilities ...mimi.Capability) *house {
	i := slices.IndexFunc(h.roles, func(r mimi.Role) bool { return r.Index == role })
	h.roles[i].Capabilities = append(h.roles[i].Capabilities, capabilities...)
	return h
}

// change lets a role move others.
func (h *house) change(role, from uint32, to ...uint32) *house {
	i := slices.IndexFunc(h.roles, func(r mimi.Role) bool { return r.Index == role })
	h.roles[i].Changes = append(h.roles[i].Changes, mimi.RoleChanges{From: from, Targets: to})
	return h
}

// bound limits a role's participants and those of them who are active.
func (h *house) bound(role uint32, participants, active mimi.Bounds) *house {
	i := slices.IndexFunc(h.roles, func(r mimi.Role) bool { return r.Index == role })
	h.roles[i].Participants, h.roles[i].Active = participants, active
	return h
}

func (h *house) with(id mls.ComponentID, data interface{ Marshal() []byte }) *house {
	h.components[id] = data.Marshal()
	return h
}

var (
	foundationOnce sync.Once
	foundationMade *maker
)

// foundation is what openMaker opens, made once.
func foundation(t testing.TB) *maker {
	t.Helper()
	foundationOnce.Do(func() { foundationMade = openMaker(t) })
	hub := *foundationMade.hub
	hub.t, hub.store = t, hub.store.Clone()
	hub.recording.Clients = slices.Clone(hub.recording.Clients)
	return &maker{hub: &hub, entropy: rand.NewChaCha8([32]byte{2})}
}

// open is a maker in the house.
func (h *house) open(t testing.TB) *maker {
	t.Helper()
	m := foundation(t)
	want[fsm.Accepted](t, h.found(m))
	m.recording.Room.URI = houseURI
	return m
}

// houseURI is every house's.
var houseURI = func() mimi.RoomURI {
	room, err := mimi.ParseRoomURI("mimi://a.example/r/house")
	if err != nil {
		panic(err)
	}
	return room
}()

// found has the hub create the house.
func (h *house) found(m *maker) fsm.Outcome {
	m.t.Helper()
	for _, name := range h.clients {
		m.settle(name)
	}
	for _, name := range []string{"dave1", "erin1", "mallory1"} {
		m.settle(name)
	}
	m.claimFor(houseURI)
	r, err := NewCreateRoom(houseURI, user(nameOfUser(h.clients[0])), h.info(m).Marshal(), h.tree(m).Marshal())
	m.ok(err)
	if set, fixed := r.FixedMembers(); fixed && !h.unreserved {
		reserved := want[fsm.MembersReserved](m.t, m.do(constructed(NewReserveMembers(set, houseURI, 0))))
		r = r.WithMembers(reserved.Number)
	}
	return m.do(r, nil)
}

func nameOfUser(client string) string { return strings.TrimRight(client, "0123456789") }

// settle makes a client's key, where the recording has none.
func (m *maker) settle(name string) {
	m.t.Helper()
	domain := domainOfUser(nameOfUser(name))
	if slices.ContainsFunc(m.recording.Clients, func(c client) bool { return strings.HasSuffix(c.URI.String(), name) }) {
		return
	}
	uri, err := mimi.ParseClientURI("mimi://" + domain + "/d/" + name)
	m.ok(err)
	c := client{URI: uri, User: user(nameOfUser(name))}
	c.SignatureKey.Seed = hex.EncodeToString(m.random(32))
	m.recording.Clients = append(m.recording.Clients, c)
}

// claimFor tells a room that is to be whose all the clients are.
func (m *maker) claimFor(room mimi.RoomURI) {
	m.t.Helper()
	for _, c := range m.recording.Clients {
		r, err := NewRecordRoutes(room, []fsm.KeyPackageRoute{{
			Ref: mls.KeyPackageRef(c.URI.String()), Provider: c.User.Provider(), User: c.User, Client: c.URI, NotAfter: m.now/1000 + 1000,
		}})
		want[fsm.Done](m.t, m.do(constructed(r, err)))
	}
}

func (h *house) tree(m *maker) *mls.RatchetTree {
	m.t.Helper()
	width := 1
	for width < 2*len(h.clients)-1 {
		width = 2*width + 1
	}
	nodes := make([][]byte, width)
	for i, name := range h.clients {
		var w mls.Writer
		w.Uint8(1)
		m.packageOf(name).Leaf.AppendTo(&w)
		nodes[2*i] = w.Bytes()
	}
	tree, err := mls.NewRatchetTree(nodes)
	m.ok(err)
	return tree
}

// packageOf is a KeyPackage of a client, always the same.
func (m *maker) packageOf(name string) mls.KeyPackage {
	m.t.Helper()
	if m.packages == nil {
		m.packages = make(map[string]mls.KeyPackage)
	}
	k, made := m.packages[name]
	if !made {
		k = m.keyPackage(m.key(name), basic(m.client(name).URI.String()))
		m.packages[name] = k
	}
	return k
}

func (h *house) info(m *maker) mls.GroupInfo {
	m.t.Helper()
	group := m.state().group
	info := mls.GroupInfo{
		Context: mls.GroupContext{
			Suite: 1, GroupID: "house", Epoch: 7, TreeHash: h.tree(m).TreeHash(group.Suite()), ConfirmedTranscriptHash: m.random(32),
			Extensions: h.extensions(m),
		},
		Extensions:      mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: m.random(32)}.Marshal()),
		ConfirmationTag: m.random(32),
	}
	m.ok(info.Sign(m.key(h.clients[0])))
	return info
}

func (h *house) extensions(m *maker) mls.Extensions {
	m.t.Helper()
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, mimi.ParticipantListData{Participants: h.list}.Marshal())
	if h.roles != nil {
		dictionary = dictionary.With(mimi.ComponentRoles, mimi.RoleData{Roles: h.roles}.Marshal())
	}
	for _, id := range slices.Sorted(maps.Keys(h.components)) {
		dictionary = dictionary.With(id, h.components[id])
	}
	extensions := m.state().group.Context().Extensions.With(mls.ExtensionAppDataDictionary, dictionary.Marshal())
	if h.loose {
		extensions = extensions.With(mls.ExtensionRequiredCapabilities, mls.RequiredCapabilities{}.Marshal())
	}
	return extensions
}

// listed adds a user to the participant list.
func listed(name string, role uint32) mls.Proposal {
	return listUpdate(mimi.ParticipantListUpdate{Added: []mimi.UserRolePair{{User: user(name), Role: role}}})
}

// joinAs is an external Commit under a user's name, with a key of its own.
func (m *maker) joinAs(name string, list ...mls.Proposal) mimi.CommitBundle {
	m.t.Helper()
	return m.join(m.newKey(), basic(user(name).String()), inline(list...))
}

// roleNow is a user's in the present epoch; 0 where it is no participant.
func (m *maker) roleNow(name string) uint32 {
	m.t.Helper()
	for _, p := range m.state().Participants {
		if p.User == user(name) {
			return p.Role
		}
	}
	return mimi.RoleNone
}

func claims(pairs ...string) (list []mimi.Claim) {
	for i := 0; i < len(pairs); i += 2 {
		id := mimi.ClaimID{Type: mls.CredentialBasic, ID: bytes.Clone([]byte(pairs[i]))}
		list = append(list, mimi.Claim{ID: id, Value: []byte(pairs[i+1])})
	}
	return list
}

// preauth is a list of entries that give roles by index.
func preauth(entries ...mimi.PreAuthRoleEntry) mimi.PreAuthData {
	hub := entry(roleAdmin, claims("sub", "mimi://a.example")) // who has to remove who is gone
	return mimi.PreAuthData{Entries: append(entries, hub)}
}

func entry(role uint32, list []mimi.Claim) mimi.PreAuthRoleEntry {
	return mimi.PreAuthRoleEntry{Claims: list, Role: mimi.Role{Index: role}}
}
