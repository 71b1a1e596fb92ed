package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// modelRoom is a room as its own hub sees it: who has which leaf, and what happened. What each local client has to see follows from the
// rule in so many words, and not from anything that the state machine keeps.
type modelRoom struct {
	uri     mimi.RoomURI
	here    bool
	group   mls.GroupID
	epoch   mls.Epoch
	leaves  []string         // names, "" where a leaf is free
	members []string         // local names that see what happens, sorted; a client is in a room once
	hosted  *fsmtest.Room    // where here
	pending []pendingInModel // Proposals of the epoch
	begun   bool             // a local client has ever been in it, so that its hub tells this provider of it
}

type pendingInModel struct {
	ref     mls.ProposalRef
	message []byte
	removes int // the leaf
}

// clientsModel is random rooms, hosted here and elsewhere, and clients that come, go, read and acknowledge.
type clientsModel struct {
	*whole
	random *rand.Rand
	rooms  []*modelRoom
	want   map[string]map[mimi.RoomURI][]string // by client: the labels of what it has not acknowledged
	made   int
}

var (
	ours   = []string{"mimi://a.example/d/c1", "mimi://a.example/d/c2", "mimi://a.example/d/c3", "mimi://a.example/u/plain"}
	theirs = []string{"mimi://b.example/d/x1", "mimi://b.example/d/x2"}
)

func clientSettings() fsm.Settings {
	settings := fourthSettings(hub)
	settings.Bulk.ClientInboxes = true
	return settings
}

func newClientsModel(t *testing.T, seed uint64) *clientsModel {
	m := &clientsModel{
		whole: newWholeOf(t, clientSettings()), random: rand.New(rand.NewPCG(seed, 6)),
		want: map[string]map[mimi.RoomURI][]string{},
	}
	for i := range 2 {
		m.host(room(fmt.Sprint("here", i)))
		m.rooms = append(m.rooms, &modelRoom{
			uri: room(fmt.Sprintf("there%d@b.example", i)), group: mls.GroupID(fmt.Sprint("there ", i)), epoch: 5, leaves: []string{theirs[0]},
		})
	}
	return m
}

// host opens a room with the first client in it.
func (m *clientsModel) host(uri mimi.RoomURI) {
	r := &modelRoom{uri: uri, here: true, hosted: fsmtest.NewRoom(uri, 0, []mimi.UserURI{alice}, []mimi.Provider{hub, peer}), leaves: []string{ours[0]}, begun: true}
	r.group = r.hosted.GroupID
	create := r.hosted.Create()
	create.Facts.TreeWidth, create.Facts.TreeChanges = 1, []fsm.TreeChange{{Index: 0, Node: leafNode(ours[0])}}
	outcomeOf[fsm.Accepted](m.t, m.apply(create))
	r.hosted.Incarnation = m.index
	r.join(ours[0])
	m.rooms = append(m.rooms, r)
}

func leafOf(name string) mls.LeafNode {
	return mls.LeafNode{
		EncryptionKey: []byte("encryption key"), SignatureKey: []byte("signature key"), Credential: mls.BasicCredential{Identity: []byte(name)},
		Source: mls.Lifetime{NotAfter: 1}, Signature: []byte("signature"),
	}
}

// leafNode is a Node of the tree.
func leafNode(name string) []byte {
	if name == "" {
		return nil
	}
	leaf := leafOf(name)
	var w mls.Writer
	w.Uint8(1)
	leaf.AppendTo(&w)
	return w.Bytes()
}

func (r *modelRoom) join(name string) {
	if slices.Contains(ours, name) {
		r.members = append(r.members, name)
		slices.Sort(r.members)
	}
}

func (r *modelRoom) leave(name string) {
	r.members = slices.DeleteFunc(r.members, func(n string) bool { return n == name })
}

// see notes what some clients have to see.
func (m *clientsModel) see(r *modelRoom, label string, names ...string) {
	for _, name := range names {
		if m.want[name] == nil {
			m.want[name] = map[mimi.RoomURI][]string{}
		}
		m.want[name][r.uri] = append(m.want[name][r.uri], label)
	}
}

func (m *clientsModel) label(what string) string {
	m.made++
	return fmt.Sprintf("%s %d", what, m.made)
}

// notify brings events of a room elsewhere, several in one body or each in its own.
func (m *clientsModel) notify(r *modelRoom, events ...mimi.FanoutEvent) {
	if !r.begun {
		return
	}
	c := fsm.ReceiveFanout{Room: r.uri, Hub: peer}
	for _, e := range events {
		raw := mimi.FanoutMessage{Millis: m.now, Event: e}.Marshal()
		c.Messages = append(c.Messages, fsm.FanoutItem{Hash: sha256.Sum256(raw[8:]), Bytes: raw})
		c.BodyHash = sha256.Sum256(append(c.BodyHash[:], raw...))
	}
	outcomeOf[fsm.Accepted](m.t, m.apply(c))
}

func (m *clientsModel) say(r *modelRoom) {
	label := m.label("message")
	if r.here {
		outcomeOf[fsm.Accepted](m.t, m.apply(r.hosted.Message(label, r.hosted.Epoch, alice)))
	} else {
		m.notify(r, mimi.FanoutApplication{Message: &mls.PrivateMessage{
			GroupID: r.group, Epoch: r.epoch, ContentType: mls.ContentApplication, Ciphertext: []byte(label),
		}})
	}
	m.see(r, label, r.members...)
}

func (r *modelRoom) public(label string, sender mls.Sender, body mls.Content) *mls.PublicMessage {
	p := &mls.PublicMessage{
		Content: mls.FramedContent{GroupID: r.group, Epoch: r.epoch, Sender: sender, AuthenticatedData: []byte(label), Body: body},
		Auth:    mls.AuthData{Signature: []byte("signature")},
	}
	if _, commit := body.(mls.Commit); commit {
		p.Auth.ConfirmationTag = []byte("tag")
	}
	if _, member := sender.(mls.MemberSender); member {
		p.MembershipTag = []byte("membership")
	}
	return p
}

// propose makes a Remove or SelfRemove wait. Hosted rooms have made-up references, as fsmtest gives them.
func (m *clientsModel) propose(r *modelRoom) {
	leaf, found := m.anyLeaf(r)
	if !found {
		return
	}
	label := m.label("proposal")
	var p *mls.PublicMessage
	if m.random.IntN(2) == 0 {
		p = r.public(label, mls.ExternalSenderIndex(0), mls.Remove{Removed: mls.LeafIndex(leaf)})
	} else {
		p = r.public(label, mls.MemberSender{Leaf: mls.LeafIndex(leaf)}, mls.SelfRemove{})
	}
	message := mls.MLSMessage{Body: p}
	ref := must(mls.CipherSuite(1).Suite()).ProposalRef(p.Authenticated())
	if r.here {
		outcomeOf[fsm.Accepted](m.t, m.apply(fsm.SubmitProposals{
			Room: r.uri, GroupID: r.group, Epoch: r.epoch, Proposals: []fsm.PendingProposal{{Ref: ref, Message: message.Marshal()}},
		}))
	} else {
		m.notify(r, mimi.FanoutProposals{Proposals: []mls.MLSMessage{message}})
	}
	r.pending = append(r.pending, pendingInModel{ref, message.Marshal(), leaf})
	m.see(r, label, r.members...)
}

// anyLeaf is one that is taken, and not the last: a room without members is none.
func (m *clientsModel) anyLeaf(r *modelRoom) (int, bool) {
	var taken []int
	for i, name := range r.leaves {
		if name != "" {
			taken = append(taken, i)
		}
	}
	if len(taken) < 2 {
		return 0, false
	}
	return taken[m.random.IntN(len(taken))], true
}

// change is what a Commit does.
type change struct {
	label    string
	removes  []int // by value
	byRef    []pendingInModel
	adds     []string
	external string // who joins from outside; then there are no adds
}

func (m *clientsModel) commit(r *modelRoom) {
	c := change{label: m.label("commit")}
	if leaf, found := m.anyLeaf(r); found && m.random.IntN(3) == 0 {
		c.removes = append(c.removes, leaf)
	}
	for _, p := range r.pending {
		if m.random.IntN(2) == 0 && !slices.Contains(c.removes, p.removes) && !slices.ContainsFunc(c.byRef, func(q pendingInModel) bool { return q.removes == p.removes }) {
			c.byRef = append(c.byRef, p)
		}
	}
	out := slices.Clone(c.removes)
	for _, p := range c.byRef {
		out = append(out, p.removes)
	}
	everybody := slices.Concat(ours, theirs)
	m.random.Shuffle(len(everybody), func(i, j int) { everybody[i], everybody[j] = everybody[j], everybody[i] })
	for _, name := range everybody {
		at := slices.Index(r.leaves, name)
		switch {
		case at >= 0 && !slices.Contains(out, at):
		case len(c.adds) < 2 && m.random.IntN(3) == 0:
			c.adds = append(c.adds, name)
		}
	}
	if len(c.adds) == 0 && m.random.IntN(3) == 0 {
		c.external = m.joinerFor(r, out)
		if at := slices.Index(r.leaves, c.external); c.external != "" && at >= 0 && !slices.Contains(out, at) {
			c.removes = append(c.removes, at) // it comes again and takes its old leaf out
		}
	}
	m.apply1(r, c)
}

// joinerFor is somebody who joins from outside. Into a room elsewhere of which nothing comes here yet nobody of ours does in this model: of
// those the roster is not known, see TestUnknownRoster.
func (m *clientsModel) joinerFor(r *modelRoom, out []int) string {
	all := slices.Concat(ours, theirs)
	name := all[m.random.IntN(len(all))]
	if !r.here && len(r.members) == 0 && slices.Contains(ours, name) {
		return ""
	}
	return name
}

// apply1 makes the Commit, and says what each has to see of it.
func (m *clientsModel) apply1(r *modelRoom, c change) {
	before := slices.Clone(r.leaves)
	removed := slices.Clone(c.removes)
	for _, p := range c.byRef {
		removed = append(removed, p.removes)
	}
	watching := slices.Clone(r.members)
	for _, leaf := range removed {
		r.leave(r.leaves[leaf])
		r.leaves[leaf] = ""
	}
	place := func(name string) {
		at := slices.Index(r.leaves, "")
		if at < 0 {
			at, r.leaves = len(r.leaves), append(r.leaves, "")
		}
		r.leaves[at] = name
	}
	for _, name := range c.adds {
		place(name)
	}
	if c.external != "" {
		place(c.external)
	}
	var added []string
	for _, name := range c.adds {
		if slices.Contains(ours, name) {
			added = append(added, name)
		}
	}
	if c.external != "" {
		r.join(c.external)
		if slices.Contains(ours, c.external) && !slices.Contains(watching, c.external) {
			watching = append(watching, c.external)
		}
	}
	welcome := m.label("welcome")
	if r.here {
		m.commitHere(r, c, before, removed, welcome, len(added) > 0)
	} else {
		m.commitThere(r, c, welcome, len(added) > 0)
	}
	m.see(r, c.label, watching...)
	m.see(r, welcome, added...)
	for _, name := range added {
		r.join(name)
	}
	r.pending = nil
	r.epoch++
}

func (m *clientsModel) commitHere(r *modelRoom, c change, before []string, removed []int, welcome string, welcomes bool) {
	n := fsmtest.Next{Label: c.label}
	for _, p := range c.byRef {
		n.Proposals = append(n.Proposals, p.ref)
	}
	if welcomes {
		n.Welcomes = append(n.Welcomes, fsmtest.Welcome(hub, mls.KeyPackageRef(welcome)))
	}
	command := r.hosted.Commit(n)
	command.Ruling = fsm.Ruling{Made: true, Member: c.external == ""}
	for _, leaf := range removed {
		command.Ruling.Removals = append(command.Ruling.Removals, fsm.Removal{Leaf: mls.LeafIndex(leaf)})
	}
	command.Facts.TreeWidth, command.Facts.TreeChanges = uint32(2*len(r.leaves)-1), nil
	for i, name := range r.leaves {
		was := ""
		if i < len(before) {
			was = before[i]
		}
		if was != name || slices.Contains(removed, i) {
			command.Facts.TreeChanges = append(command.Facts.TreeChanges, fsm.TreeChange{Index: uint32(2 * i), Node: leafNode(name)})
		}
	}
	m.whole.commit(r.hosted, command)
}

func (m *clientsModel) commitThere(r *modelRoom, c change, welcome string, welcomes bool) {
	body := mls.Commit{}
	for _, leaf := range c.removes {
		body.Proposals = append(body.Proposals, mls.InlineProposal{Proposal: mls.Remove{Removed: mls.LeafIndex(leaf)}})
	}
	for _, p := range c.byRef {
		body.Proposals = append(body.Proposals, p.ref)
	}
	for _, name := range c.adds {
		body.Proposals = append(body.Proposals, mls.InlineProposal{Proposal: mls.Add{KeyPackage: mls.KeyPackage{
			Suite: 1, InitKey: []byte("init"), Leaf: leafOf(name), Signature: []byte("signature"),
		}}})
	}
	var sender mls.Sender = mls.MemberSender{Leaf: 1 << 20}
	if c.external != "" {
		sender = mls.NewMemberCommit{}
		body.Path = &mls.UpdatePath{Leaf: leafOf(c.external)}
		body.Proposals = append(body.Proposals, mls.InlineProposal{Proposal: mls.ExternalInit{KEMOutput: []byte("kem")}})
	}
	events := []mimi.FanoutEvent{mimi.FanoutCommit{Commit: mls.MLSMessage{Body: r.public(c.label, sender, body)}}}
	if welcomes {
		r.begun = true
		events = append(events, mimi.FanoutWelcome{Tree: treeWith(m.t, r.leaves), Welcome: welcomeNaming(welcome)})
	}
	m.notify(r, events...)
}

func welcomeNaming(label string) *mls.Welcome {
	return &mls.Welcome{Suite: 1, EncryptedGroupInfo: []byte("info"), Secrets: []mls.EncryptedGroupSecrets{{
		NewMember: mls.KeyPackageRef(label), Secrets: mls.HPKECiphertext{KEMOutput: []byte("kem"), Ciphertext: []byte("secrets")},
	}}}
}

func treeWith(t *testing.T, leaves []string) mimi.FullTree {
	t.Helper()
	var w mls.Writer
	w.Vector(func(w *mls.Writer) {
		last := 0
		for i, name := range leaves {
			if name != "" {
				last = i
			}
		}
		for i := range 2*last + 1 {
			if node := leafNode(leaves[i/2]); i%2 == 0 && node != nil {
				w.Bool(true)
				w.Fixed(node)
			} else {
				w.Bool(false)
			}
		}
	})
	return mimi.FullTree{Encoded: w.Bytes()}
}

// labelOf is what the model called an event.
func labelOf(t *testing.T, e fsm.ClientEvent) string {
	t.Helper()
	if len(e.Notes) > 0 {
		return fmt.Sprintf("%T", e.Notes[0])
	}
	m, err := mimi.ParseFanoutMessage(e.Message)
	check(t, err)
	switch event := m.Event.(type) {
	case mimi.FanoutApplication:
		return string(event.Message.Ciphertext)
	case mimi.FanoutWelcome:
		return string(event.Welcome.Refs()[0])
	default:
		return string(event.MLSMessages()[0].Body.(*mls.PublicMessage).Content.AuthenticatedData)
	}
}

func (w *whole) events(name string, uri mimi.RoomURI, q fsm.EventQuery) (events []fsm.ClientEvent, wholly bool) {
	w.t.Helper()
	q.Name = fsm.MemberName(name)
	if q.Items == 0 {
		q.Items = 1000
	}
	refs, wholly, err := fsm.ReadEventRefs(w.store, uri, q)
	check(w.t, err)
	for _, ref := range refs {
		e, found, err := fsm.ReadClientEvent(w.store, ref)
		check(w.t, err)
		if !found {
			w.t.Fatalf("event %d of %s is not there", ref.Position, uri)
		}
		events = append(events, e)
	}
	return events, wholly
}

func (w *whole) labels(events []fsm.ClientEvent) []string {
	labels := make([]string, len(events))
	for i, e := range events {
		labels[i] = labelOf(w.t, e)
	}
	return labels
}

// compare holds every client's inbox to what it has to see.
func (m *clientsModel) compare() {
	m.t.Helper()
	for _, name := range slices.Concat(ours, theirs) {
		for _, r := range m.rooms {
			events, _ := m.events(name, r.uri, fsm.EventQuery{})
			if got, want := m.labels(events), m.want[name][r.uri]; !slices.Equal(got, want) {
				m.t.Fatalf("%s sees of %s\n%s, not\n%s", name, r.uri, strings.Join(got, ", "), strings.Join(want, ", "))
			}
		}
	}
}

// acknowledge has a client acknowledge some of what it sees, up to a place or here and there.
func (m *clientsModel) acknowledge(r *modelRoom) {
	name := ours[m.random.IntN(len(ours))]
	events, _ := m.events(name, r.uri, fsm.EventQuery{})
	if len(events) == 0 {
		return
	}
	c := fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(r.uri), Name: fsm.MemberName(name)}
	gone := map[string]bool{}
	if m.random.IntN(2) == 0 {
		n := m.random.IntN(len(events))
		c.Through = events[n].Position
		for _, e := range events[:n+1] {
			gone[labelOf(m.t, e)] = true
		}
	} else {
		for _, e := range events {
			if m.random.IntN(2) == 0 {
				c.Positions = append(c.Positions, e.Position)
				gone[labelOf(m.t, e)] = true
			}
		}
	}
	if got := m.apply(c); got != (fsm.Acknowledged{Items: uint32(len(gone))}) {
		m.t.Fatalf("%s acknowledges %d of %s: %+v", name, len(gone), r.uri, got)
	}
	if again := m.apply(c); again != (fsm.Acknowledged{}) {
		m.t.Fatalf("once more: %+v", again)
	}
	m.want[name][r.uri] = slices.DeleteFunc(m.want[name][r.uri], func(label string) bool { return gone[label] })
}

// compareRooms holds what the slots of names know to where they are, or have something left.
func (m *clientsModel) compareRooms() {
	m.t.Helper()
	m.carry()
	for _, name := range ours {
		known := map[mimi.RoomURI]bool{}
		check(m.t, fsm.VisitMemberRooms(m.store, fsm.MemberName(name), fsm.RoomHash{}, func(r mimi.RoomURI) (bool, error) {
			known[r] = true
			return true, nil
		}))
		for _, r := range m.rooms {
			if need := slices.Contains(r.members, name) && m.want[name][r.uri] != nil || len(m.want[name][r.uri]) > 0; need && !known[r.uri] {
				m.t.Fatalf("the slot of %s does not know of %s", name, r.uri)
			}
			delete(known, r.uri)
		}
		if len(known) > 0 {
			m.t.Fatalf("the slot of %s knows of %v", name, slices.Collect(maps.Keys(known)))
		}
	}
}

func (m *clientsModel) step() {
	r := m.rooms[m.random.IntN(len(m.rooms))]
	switch m.random.IntN(8) {
	case 0, 1:
		m.say(r)
	case 2:
		m.propose(r)
	case 3, 4, 5:
		m.commit(r)
	default:
		m.acknowledge(r)
	}
	m.compare()
}

// replay applies the log to another store, which goes through a snapshot in the middle, and comes to the same state.
func (m *clientsModel) replay() {
	m.t.Helper()
	other := fsmtest.NewStore()
	for i, entry := range m.log {
		apply(m.t, other, i+1, entry)
		if i == len(m.log)/2 {
			var raw bytes.Buffer
			check(m.t, fsm.WriteSnapshot(&raw, other))
			other = fsmtest.NewStore()
			check(m.t, fsm.ReadSnapshot(&raw, other.Set))
		}
	}
	if digest(m.t, other) != digest(m.t, m.store) {
		m.t.Error("a replica that was restored in the middle holds another state")
	}
}

// Random rooms, here and elsewhere, with clients that come by Welcome and from outside, go by Removes of all kinds, and acknowledge up to
// a place and here and there: each sees what its windows have, in order, until it has acknowledged it.
func TestClientsSeeTheirWindows(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newClientsModel(t, seed)
			for range 60 {
				m.step()
			}
			m.compareRooms()
			m.replay()
			// When all have everything, nothing is kept but where they are.
			for _, r := range m.rooms {
				for _, name := range ours {
					m.apply(fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(r.uri), Name: fsm.MemberName(name), Through: 1 << 60})
					delete(m.want[name], r.uri)
				}
			}
			m.compare()
			if left := fsm.ClientEventsKept(m.store); left > 0 {
				t.Errorf("%d events are kept that nobody needs", left)
			}
		})
	}
}
