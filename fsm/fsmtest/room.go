package fsmtest

import (
	"bytes"
	"crypto/sha256"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Room makes the commands of one room whose group nobody is in: its tree, signatures and tags are made up, but its Commits
// follow from one another by the transcript (RFC 9420 §8.2), which is all that apply can see of them. It keeps the newest
// epoch that Advance was told. Not safe for concurrent use.
type Room struct {
	URI          mimi.RoomURI
	GroupID      mls.GroupID
	Epoch        mls.Epoch
	Incarnation  uint64 // index of the entry that created it, which the test has to set
	Settings     uint64 // the settings version that Commits are judged under
	Participants []fsm.Participant
	Destinations []mimi.Provider

	context []byte
	interim []byte
	created fsm.CreateRoom
}

const suiteID mls.CipherSuite = 1

var suite = must(suiteID.Suite())

// NewRoom is a room at an epoch of its group, of at least one user, each with role 1.
func NewRoom(uri mimi.RoomURI, epoch mls.Epoch, users []mimi.UserURI, destinations []mimi.Provider) *Room {
	r := &Room{URI: uri, GroupID: mls.GroupID("group of " + uri.String()), Epoch: epoch, Settings: 1}
	r.Participants = ParticipantsOf(users)
	r.Destinations = destinations
	confirmed := suite.Hash([]byte("before"))
	r.context = r.contextOf(epoch, confirmed)
	r.interim = suite.InterimTranscriptHash(confirmed, []byte("tag"))
	r.created = fsm.CreateRoom{
		Room: uri, Creator: users[0], GroupID: r.GroupID, Suite: suiteID,
		Facts:       r.facts(epoch, r.context, r.interim, r.Participants, destinations),
		RequestHash: sha256.Sum256(r.context),
	}
	return r
}

// ParticipantsOf gives users the role 1.
func ParticipantsOf(users []mimi.UserURI) (list []fsm.Participant) {
	for _, u := range users {
		list = append(list, fsm.Participant{User: u, Role: 1})
	}
	return list
}

func (r *Room) contextOf(epoch mls.Epoch, confirmed []byte) []byte {
	return mls.GroupContext{
		Suite: suiteID, GroupID: r.GroupID, Epoch: epoch, TreeHash: suite.Hash([]byte("tree")), ConfirmedTranscriptHash: confirmed,
	}.Marshal()
}

// Create is the command that opens the room with a tree of one leaf, the same in every epoch. The first of the users creates it.
func (r *Room) Create() fsm.CreateRoom { return r.created }

// ContextHash is that of the room's GroupContext.
func (r *Room) ContextHash() [32]byte { return sha256.Sum256(r.context) }

func (r *Room) facts(epoch mls.Epoch, context, interim []byte, participants []fsm.Participant, destinations []mimi.Provider) fsm.RoomFacts {
	return fsm.RoomFacts{
		Epoch: epoch, GroupContext: context, InterimTranscriptHash: interim, GroupInfo: append([]byte("info of "), context...),
		TreeWidth: 3, TreeChanges: []fsm.TreeChange{{Index: 0, Node: context[:8]}, {Index: 2}},
		Participants: participants, Destinations: destinations,
	}
}

// Next is what a Commit changes. Label makes Commits of one epoch differ.
type Next struct {
	Label        string
	Proposals    []mls.ProposalRef
	Participants []fsm.Participant // nil: as before
	Destinations []mimi.Provider   // nil: as before
	Welcomes     []fsm.WelcomeDelivery
	ValidFrom    uint64
	ValidUntil   uint64
}

// Commit is the command for a Commit of the room's epoch, which changes nothing here: see Advance.
func (r *Room) Commit(n Next) fsm.AcceptCommit {
	body := mls.Commit{}
	for _, ref := range n.Proposals {
		body.Proposals = append(body.Proposals, ref)
	}
	message := mls.PublicMessage{
		Content: mls.FramedContent{
			GroupID: r.GroupID, Epoch: r.Epoch, Sender: mls.MemberSender{Leaf: 0}, AuthenticatedData: []byte(n.Label), Body: body,
		},
		Auth:          mls.AuthData{Signature: []byte("signature"), ConfirmationTag: []byte("tag of " + n.Label)},
		MembershipTag: []byte("membership"),
	}
	commit := mls.MLSMessage{Body: &message}.Marshal()
	confirmed := suite.ConfirmedTranscriptHash(r.interim, message.Authenticated())
	interim := suite.InterimTranscriptHash(confirmed, message.Auth.ConfirmationTag)
	participants, destinations := r.Participants, r.Destinations
	if n.Participants != nil {
		participants = n.Participants
	}
	if n.Destinations != nil {
		destinations = n.Destinations
	}
	return fsm.AcceptCommit{
		Room: r.URI,
		Reads: fsm.ReadSet{
			Incarnation: r.Incarnation, GroupID: r.GroupID, Epoch: r.Epoch, GroupContextHash: sha256.Sum256(r.context),
			Enforcement: r.Settings, Proposals: n.Proposals,
		},
		CommitHash: sha256.Sum256(commit), Commit: commit, Sender: r.Participants[0].User,
		Facts:    r.facts(r.Epoch+1, r.contextOf(r.Epoch+1, confirmed), interim, participants, destinations),
		Welcomes: n.Welcomes, ValidFrom: n.ValidFrom, ValidUntil: n.ValidUntil,
		Notified: union(r.Destinations, destinations),
	}
}

// Grown is a Commit after which the room's tree has so many leaves, and each of its nodes that many bytes: what one changes that
// brings thousands of clients.
func Grown(c fsm.AcceptCommit, leaves, nodeBytes int) fsm.AcceptCommit {
	c.Facts.TreeWidth = uint32(2*leaves - 1)
	c.Facts.TreeChanges = nil
	for i := range c.Facts.TreeWidth {
		c.Facts.TreeChanges = append(c.Facts.TreeChanges, fsm.TreeChange{Index: i, Node: bytes.Repeat([]byte{byte(i)}, nodeBytes)})
	}
	return c
}

// Advance takes an accepted Commit into the room.
func (r *Room) Advance(c fsm.AcceptCommit) {
	r.Epoch, r.context, r.interim = c.Facts.Epoch, c.Facts.GroupContext, c.Facts.InterimTranscriptHash
	r.Participants, r.Destinations = c.Facts.Participants, c.Facts.Destinations
}

// Successor is the room after a ReInit: of another group, at its first epoch, with the same users.
func (r *Room) Successor(group mls.GroupID) *Room {
	n := *r
	n.GroupID, n.Epoch = group, 0
	confirmed := suite.Hash([]byte("before"))
	n.context = n.contextOf(0, confirmed)
	n.interim = suite.InterimTranscriptHash(confirmed, []byte("tag"))
	n.created = fsm.CreateRoom{
		Room: r.URI, Creator: r.Participants[0].User, GroupID: group, Suite: suiteID,
		Facts:       n.facts(0, n.context, n.interim, n.Participants, n.Destinations),
		RequestHash: sha256.Sum256(n.context),
	}
	return &n
}

// Forward is the command that brings the room, if it is stale, to the epoch that it was advanced to. Incarnation is the stale room's.
func (r *Room) Forward(generation fsm.Generation, seen ...fsm.EpochSeen) fsm.FastForwardRoom {
	facts := r.facts(r.Epoch, r.context, r.interim, r.Participants, r.Destinations)
	return fsm.FastForwardRoom{
		Room: r.URI, Generation: generation, Incarnation: r.Incarnation, GroupID: r.GroupID, Suite: suiteID, Facts: facts, Seen: seen,
		RequestHash: sha256.Sum256(append([]byte("forward"), r.context...)),
	}
}

// Message is an application message of an epoch.
func (r *Room) Message(label string, epoch mls.Epoch, sender mimi.UserURI) fsm.SubmitMessage {
	message := mls.MLSMessage{Body: &mls.PrivateMessage{
		GroupID: r.GroupID, Epoch: epoch, ContentType: mls.ContentApplication, Ciphertext: []byte(label),
	}}.Marshal()
	return fsm.SubmitMessage{
		Room: r.URI, GroupID: r.GroupID, Epoch: epoch, Sender: sender, Hash: sha256.Sum256(message), Message: message,
	}
}

// Propose is a bundle of Proposals of an epoch, each known by its label.
func (r *Room) Propose(epoch mls.Epoch, sender mimi.UserURI, labels ...string) fsm.SubmitProposals {
	c := fsm.SubmitProposals{Room: r.URI, GroupID: r.GroupID, Epoch: epoch, Sender: sender}
	for _, label := range labels {
		message := mls.MLSMessage{Body: &mls.PublicMessage{
			Content: mls.FramedContent{
				GroupID: r.GroupID, Epoch: epoch, Sender: mls.ExternalSenderIndex(0), AuthenticatedData: []byte(label), Body: mls.Remove{Removed: 1},
			},
			Auth: mls.AuthData{Signature: []byte("signature")},
		}}.Marshal()
		c.Proposals = append(c.Proposals, fsm.PendingProposal{Ref: mls.ProposalRef(label), Message: message})
		c.BundleHash = sha256.Sum256(append(c.BundleHash[:], message...))
	}
	return c
}

// Welcome is for KeyPackages of one destination.
func Welcome(destination mimi.Provider, refs ...mls.KeyPackageRef) fsm.WelcomeDelivery {
	welcome := &mls.Welcome{Suite: suiteID, EncryptedGroupInfo: []byte("group info")}
	for _, ref := range refs {
		welcome.Secrets = append(welcome.Secrets, mls.EncryptedGroupSecrets{
			NewMember: ref, Secrets: mls.HPKECiphertext{KEMOutput: []byte("kem"), Ciphertext: []byte("secrets")},
		})
	}
	return fsm.WelcomeDelivery{Destination: destination, Welcome: mls.MLSMessage{Body: welcome}.Marshal(), RatchetTree: tree}
}

// tree says where the tree is, since a whole one would need nodes that can be read.
var tree = mimi.HTTPSTree{URL: "https://a.example/tree"}.Marshal()

func union(a, b []mimi.Provider) (all []mimi.Provider) {
	seen := make(map[mimi.Provider]bool)
	for _, list := range [][]mimi.Provider{a, b} {
		for _, p := range list {
			if !seen[p] {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	return all
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
