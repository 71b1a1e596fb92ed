package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// updateTable is a room of a.example with alice1, bob1 and bob2 at its leaves, in which b.example's bob1 commits.
type updateTable struct {
	*world
	a, b *station
	room *simulated
}

const bobsLeaf = mls.LeafIndex(1)

func newUpdateTable(t *testing.T) *updateTable {
	t.Helper()
	w := newWorld(t, hubDomain, peerDomain, thirdParty)
	u := &updateTable{world: w, a: w.providers[hubDomain], b: w.providers[peerDomain]}
	u.room = w.openRoom(u.a, ourRoom, newDevice(t, alice, "mimi://a.example/d/alice1"),
		newDevice(t, bob, "mimi://b.example/d/bob1"), newDevice(t, bob, "mimi://b.example/d/bob2"))
	return u
}

// send hands a body in at the hub, in the name of b.example.
func (u *updateTable) send(body []byte) (answered, updateAnswerRead) {
	u.t.Helper()
	a := u.b.post(u.a, path("update", ourRoom), body)
	if a.status != http.StatusOK {
		u.t.Fatalf("%d %s", a.status, a.body)
	}
	return a, readUpdateAnswer(u.t, a.body)
}

// commit is bob1's Commit with a path.
func (u *updateTable) commit(alter func(*mlstest.Plan)) mimi.CommitBundle {
	u.t.Helper()
	plan := mlstest.Plan{Committer: bobsLeaf, Path: true}
	if alter != nil {
		alter(&plan)
	}
	return bundleOf(u.room.commit(plan))
}

// propose is a Proposal by itself.
func (u *updateTable) propose(from mls.Sender, p mls.Content, change ...func(*mls.PublicMessage)) (mls.MLSMessage, mls.ProposalRef) {
	u.t.Helper()
	message, ref, err := u.room.group.Fork(11).Propose(from, p, change...)
	if err != nil {
		u.t.Fatal(err)
	}
	return mls.MLSMessage{Body: message}, ref
}

// adding is the Proposal that brings a device in.
func adding(t testing.TB, d device) mls.Proposal {
	return mls.Add{KeyPackage: packageOf(t, d, nil)}
}

// updateRow is a body that is refused, with the code and the reason; refs are the Proposals that have to be named.
type updateRow struct {
	name   string
	body   []byte
	code   uint8
	reason string
	refs   []mls.ProposalRef
}

func info(b mimi.CommitBundle) mls.GroupInfo { return b.GroupInfo.(mimi.FullGroupInfo).GroupInfo }

// partial is bob1's Commit with what the hub cannot compute of the GroupInfo, altered.
func (u *updateTable) partial(change func(*mimi.PartialGroupInfo)) []byte {
	u.t.Helper()
	b := u.commit(nil)
	p := mimi.PartialGroupInfo{Presence: mimi.NoRatchetTree, Extensions: info(b).Extensions, Signature: info(b).Signature}
	change(&p)
	b.GroupInfo = p
	return b.Marshal()
}

// infoRows are Commits whose GroupInfo, tree or Welcome is not what it has to be.
func (u *updateTable) infoRows() []updateRow {
	t := u.t
	withInfo := func(change func(*mls.GroupInfo)) []byte {
		return u.commit(func(p *mlstest.Plan) { p.ChangeInfo = change }).Marshal()
	}
	otherTree := u.commit(nil)
	otherTree.Tree = mimi.FullTree{Encoded: u.room.group.Tree()}
	carl := newDevice(t, user("mimi://b.example/u/bob"), "mimi://b.example/d/bob3")
	welcoming := func(change func(*mimi.CommitBundle)) []byte {
		b := u.commit(func(p *mlstest.Plan) { p.Inline = []mls.Proposal{adding(t, carl)} })
		change(&b)
		return b.Marshal()
	}
	return []updateRow{
		{"a GroupInfo that somebody else signed", withInfo(func(i *mls.GroupInfo) { i.Signer = 0 }), 2, "GroupInfo", nil},
		{"a GroupInfo of another tree", withInfo(func(i *mls.GroupInfo) { i.Context.TreeHash = make([]byte, 32) }), 2, "GroupContext", nil},
		{"a partial GroupInfo with a wrong signature", u.partial(func(p *mimi.PartialGroupInfo) { p.Signature = make([]byte, 64) }), 2, "signature", nil},
		{"a tree of the epoch before", otherTree.Marshal(), 2, "tree", nil},
		{"no Welcome", welcoming(func(b *mimi.CommitBundle) { b.Welcome = nil }), 2, "Welcome", nil},
		{"a Welcome for somebody else", welcoming(func(b *mimi.CommitBundle) { b.Welcome.Secrets[0].NewMember = "somebody else" }), 2, "Welcome", nil},
		{"a Welcome where nobody is added", func() []byte {
			b := u.commit(nil)
			b.Welcome = &mls.Welcome{Suite: 1, EncryptedGroupInfo: []byte{1}, Secrets: []mls.EncryptedGroupSecrets{{NewMember: "x"}}}
			return b.Marshal()
		}(), 2, "Welcome", nil},
	}
}

// commitRows are Commits that may not be, for what they change or for who sends them.
func (u *updateTable) commitRows() []updateRow {
	t := u.t
	inline := func(path bool, proposals ...mls.Proposal) []byte {
		return u.commit(func(p *mlstest.Plan) { p.Inline, p.Path = proposals, path }).Marshal()
	}
	framed := func(change func(*mls.PublicMessage)) []byte {
		return u.commit(func(p *mlstest.Plan) { p.ChangeMessage = change }).Marshal()
	}
	stranger, err := u.room.group.Client("eve")
	if err != nil {
		t.Fatal(err)
	}
	alien := newDevice(t, cathy, "mimi://c.example/d/cathy1")
	ownNew := newDevice(t, bob, "mimi://b.example/d/bob3")
	noHub := u.room.group.Context().Extensions.With(mls.ExtensionExternalSenders, mls.ExternalSenders{}.Marshal())
	return []updateRow{
		{"a wrong signature", u.commit(func(p *mlstest.Plan) { p.ChangeSigned = func(m *mls.PublicMessage) { m.Auth.Signature[0] ^= 1 } }).Marshal(), 2, "signature", nil},
		{"signed by somebody else", u.commit(func(p *mlstest.Plan) { p.Signer = u.room.members[0].key }).Marshal(), 2, "signature", nil},
		{"another group's", framed(func(m *mls.PublicMessage) { m.Content.GroupID = "another" }), 2, "another group", nil},
		{"of no member", framed(func(m *mls.PublicMessage) { m.Content.Sender = mls.MemberSender{Leaf: 9} }), 2, "leaf 9", nil},
		{"without a path that it needs", inline(false, mls.Remove{Removed: 2}), 2, "path", nil},
		{"removing nobody", inline(true, mls.Remove{Removed: 9}), 2, "leaf 9", nil},
		{"removing itself", inline(true, mls.Remove{Removed: bobsLeaf}), 2, "committer", nil},
		{"adding whom nobody has claimed", inline(true, adding(t, alien), addUser(cathy)), 2, "no user that the room knows", nil},
		{"adding a client of nobody known", inline(true, adding(t, ownNew)), 2, "no user that the room knows", nil},
		{"naming a participant twice", inline(false, addUser(bob)), 2, "already in the list", nil},
		{"a user who leaves while its clients stay", inline(true, removeUser(0)), 2, "stays a member", nil},
		{"an unknown component", inline(true, mls.AppDataUpdate{Component: 0x7777, Operation: mls.ComponentUpdate{Update: []byte{1}}}), 2, "0x7777", nil},
		{"leaving the hub out of external_senders", inline(true, mls.GroupContextExtensions{Extensions: noHub}), 2, "does not list a key of this hub", nil},
		{"joining as a stranger", u.commit(func(p *mlstest.Plan) { p.Joiner = stranger }).Marshal(), 2, "no user that the room knows", nil},
	}
}

func removeUser(index uint32) mls.Proposal {
	update := mimi.ParticipantListUpdate{Removed: []uint32{index}}
	return mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentUpdate{Update: update.Marshal()}}
}

// proposalRows are Proposals, or references to some, that are named in the refusal.
func (u *updateTable) proposalRows() []updateRow {
	t := u.t
	own := mls.MemberSender{Leaf: bobsLeaf}
	good, _ := u.propose(own, mls.Remove{Removed: 2})
	bad := func(from mls.Sender, p mls.Content, change ...func(*mls.PublicMessage)) (body []byte, refs []mls.ProposalRef) {
		message, ref := u.propose(from, p, change...)
		return mimi.ProposalBundle{Proposals: []mls.MLSMessage{good, message}}.Marshal(), []mls.ProposalRef{ref}
	}
	row := func(name, reason string) func(body []byte, refs []mls.ProposalRef) updateRow {
		return func(body []byte, refs []mls.ProposalRef) updateRow { return updateRow{name, body, 3, reason, refs} }
	}
	fork := u.room.group.Fork(5)
	message, missing, err := fork.Propose(mls.MemberSender{Leaf: 2}, mls.Remove{Removed: 0})
	if err != nil || message == nil {
		t.Fatal(err)
	}
	step, err := fork.Commit(mlstest.Plan{Committer: bobsLeaf, Path: true, References: []mls.ProposalRef{missing}})
	if err != nil {
		t.Fatal(err)
	}
	return []updateRow{
		{"a reference to a Proposal that does not wait", bundleOf(step).Marshal(), 3, "", []mls.ProposalRef{missing}},
		row("removing nobody", "leaf 9")(bad(own, mls.Remove{Removed: 9})),
		row("an ExternalInit", "external Commit only")(bad(own, u.room.group.ExternalInit())),
		row("another member's among them", "differ in group, epoch or sender")(bad(mls.MemberSender{Leaf: 2}, mls.Remove{Removed: 0})),
		row("another epoch's among them", "differ in group, epoch or sender")(bad(own, mls.Remove{Removed: 0}, func(m *mls.PublicMessage) { m.Content.Epoch++ })),
		row("a client that nobody has claimed", "no user that the room knows")(bad(own, adding(t, newDevice(t, cathy, "mimi://c.example/d/cathy1")))),
		row("an unknown component", "0x7777")(bad(own, mls.AppDataUpdate{Component: 0x7777, Operation: mls.ComponentUpdate{Update: []byte{1}}})),
	}
}

// Every refusal of a Commit or of Proposals has a code and a reason, names the Proposals that are wrong, and changes nothing.
func TestUpdateTable(t *testing.T) {
	u := newUpdateTable(t)
	rows := slices.Concat(u.infoRows(), u.commitRows(), u.proposalRows())
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := u.b.post(u.a, path("update", ourRoom), row.body)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			got := readUpdateAnswer(t, a.body)
			var refs []mls.ProposalRef
			for _, ref := range got.refs {
				refs = append(refs, mls.ProposalRef(ref))
			}
			if got.code != row.code || got.text == "" || !strings.Contains(got.text, row.reason) || !slices.Equal(refs, row.refs) {
				t.Errorf("code %d, %q, references %x", got.code, got.text, got.refs)
			}
			for _, internal := range []string{"fsm", "judge", "replica", "goroutine", ".go"} {
				if strings.Contains(got.text, internal) {
					t.Errorf("the reason speaks of %q: %s", internal, got.text)
				}
			}
		})
	}
	// The room is where it was: what all of them would have changed is accepted now.
	if _, got := u.send(u.commit(nil).Marshal()); got.code != 0 {
		t.Errorf("after the refusals: %+v", got)
	}
}

// One Commit of an epoch is accepted. It gets the same answer however often it comes; any other is told the epoch and the winner.
func TestUpdateEpochs(t *testing.T) {
	u := newUpdateTable(t)
	winner := u.commit(nil)
	loser := u.commit(func(p *mlstest.Plan) { p.AuthenticatedData = []byte("another") })
	first, got := u.send(winner.Marshal())
	if got.code != 0 || got.accepted == 0 || got.text != "" {
		t.Fatalf("%+v", got)
	}
	again, _ := u.send(winner.Marshal())
	if !bytes.Equal(first.body, again.body) || again.header.Get("Mimi-Epoch-Winner") != "" {
		t.Errorf("a retry got %x, the original %x", again.body, first.body)
	}
	hash := sha256.Sum256(winner.Commit.Marshal())
	a, got := u.send(loser.Marshal())
	if got.code != 1 || got.epoch != 4 || got.text == "" || a.header.Get("Mimi-Epoch-Winner") != hex.EncodeToString(hash[:]) {
		t.Errorf("the loser was told %+v and %v", got, a.header)
	}
	if bytes.Contains(a.body, hash[:]) {
		t.Error("the winner's hash is in the body")
	}
	future := u.commit(func(p *mlstest.Plan) { p.ChangeMessage = func(m *mls.PublicMessage) { m.Content.Epoch = 9 } })
	a, got = u.send(future.Marshal())
	if got.code != 1 || got.epoch != 4 || a.header.Get("Mimi-Epoch-Winner") != "" {
		t.Errorf("one of a future epoch was told %+v and %v", got, a.header)
	}
}

// Who sends, and which room, is looked at before anything else of a Commit.
func TestUpdateSenders(t *testing.T) {
	u := newUpdateTable(t)
	body := u.commit(nil).Marshal()
	elsewhere := room("mimi://a.example/r/nowhere")
	for name, test := range map[string]struct {
		from   mimi.Provider
		room   mimi.RoomURI
		reason string
	}{
		"another provider than the sender's": {thirdParty, ourRoom, "not a user of the provider that sent"},
		"a room that there is not":           {peerDomain, elsewhere, "no such room"},
	} {
		a := u.providers[test.from].post(u.a, path("update", test.room), body)
		if got := readUpdateAnswer(t, a.body); a.status != http.StatusOK || got.code != 2 || !strings.Contains(got.text, test.reason) {
			t.Errorf("%s: %d %+v", name, a.status, got)
		}
	}
	a := u.b.post(u.a, path("update", theirRoom), body)
	if p := problemIn(t, a); a.status != http.StatusNotFound || p.Type != "urn:parley:problem:"+problemNotHostedHere || p.Field != "roomId" {
		t.Errorf("another hub's room: %d %+v", a.status, p)
	}
}

// What cannot be read is 400, and the field is named; the hub is not asked.
func TestUpdateMalformed(t *testing.T) {
	u := newUpdateTable(t)
	whole := u.commit(nil).Marshal()
	private := mls.MLSMessage{Body: &mls.PrivateMessage{
		GroupID: u.room.group.Context().GroupID, Epoch: 3, ContentType: mls.ContentCommit, EncryptedSenderData: []byte{1}, Ciphertext: []byte{2},
	}}.Marshal()
	semiPrivate := append([]byte{0, 1, 0xf0, 0x01}, private[4:]...)
	application, _ := u.propose(mls.MemberSender{Leaf: bobsLeaf}, mls.Remove{Removed: 2})
	application.Body.(*mls.PublicMessage).Content.Body = mls.ApplicationData("hello")
	withTree := func(tree mimi.RatchetTreeOption) []byte {
		b := u.commit(nil)
		b.Tree = tree
		return b.Marshal()
	}
	withPresence := func(presence mimi.RatchetTreePresence) []byte {
		return u.partial(func(p *mimi.PartialGroupInfo) { p.Presence = presence })
	}
	withInfo := func(change func(*mls.GroupInfo)) []byte {
		return u.commit(func(p *mlstest.Plan) { p.ChangeInfo = change }).Marshal()
	}
	tree := mls.Extension{Type: mls.ExtensionRatchetTree, Data: u.room.group.Tree()}
	before := u.a.hub.entries()
	for name, test := range map[string]struct {
		body  []byte
		field string
	}{
		"empty":                          {nil, "UpdateRequest.proposalOrCommit"},
		"cut short":                      {whole[:len(whole)-1], "UpdateRequest.ratchetTreeOption"},
		"cut in the Commit":              {whole[:60], "UpdateRequest.proposalOrCommit"},
		"a trailing octet":               {append(bytes.Clone(whole), 0), "UpdateRequest"},
		"another version":                {append([]byte{0, 2}, whole[2:]...), "UpdateRequest.proposalOrCommit"},
		"an unknown wire format":         {append([]byte{0, 1, 0x77, 0x77}, whole[4:]...), "UpdateRequest.proposalOrCommit"},
		"a handshake as PrivateMessage":  {private, "UpdateRequest.proposalOrCommit"},
		"as SemiPrivateMessage":          {semiPrivate, "UpdateRequest.proposalOrCommit"},
		"an application message":         {application.Marshal(), "UpdateRequest.proposalOrCommit"},
		"a partial GroupInfo with tree":  {withPresence(mimi.RatchetTreePresent), "UpdateRequest.groupInfoOption"},
		"a partial GroupInfo adding one": {withPresence(mimi.RatchetTreeAdded), "UpdateRequest.groupInfoOption"},
		"a tree that cannot be read":     {withTree(mimi.FullTree{Encoded: []byte{1, 7}}), "UpdateRequest.ratchetTreeOption"},
		"over the limit":                 {make([]byte, RequestBytesMax+1), "body"},
		"an embedded ratchet_tree in full": {
			withInfo(func(i *mls.GroupInfo) { i.Extensions = append(i.Extensions, tree) }), "UpdateRequest.groupInfoOption.groupInfo.extensions",
		},
		"an embedded ratchet_tree in partial": {
			u.partial(func(p *mimi.PartialGroupInfo) { p.Extensions = append(slices.Clone(p.Extensions), tree) }), "UpdateRequest.groupInfoOption.partialGroupInfo",
		},
		"no external_pub in full": {
			withInfo(func(i *mls.GroupInfo) { i.Extensions = nil }), "UpdateRequest.groupInfoOption.groupInfo.extensions",
		},
		"no external_pub in partial": {
			u.partial(func(p *mimi.PartialGroupInfo) { p.Extensions = nil }), "UpdateRequest.groupInfoOption.partialGroupInfo",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := u.b.post(u.a, path("update", ourRoom), test.body)
			if p := problemIn(t, a); a.status != http.StatusBadRequest || !strings.HasPrefix(p.Field, test.field) || p.Detail == "" {
				t.Errorf("%d %+v", a.status, p)
			}
		})
	}
	if u.a.hub.entries() != before {
		t.Error("something was decided")
	}
	a := u.b.post(u.a, "/v1/update/nonsense", whole)
	if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != "path" {
		t.Errorf("no room in the path: %d %+v", a.status, p)
	}
}
