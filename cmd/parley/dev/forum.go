package dev

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// side is one of the two providers between which load goes, with its backend.
type side struct {
	place    int // 0 or 1, as in everything that is kept by provider
	provider *provider
	backend  *backend
	door     *peerDoor // to the other's nodes, in its name
	nodes    *operator // used by one goroutine at a time
	hubKey   mls.ExternalSender
}

// forum is a room with users of both providers, who are simulated: real in all that a hub can check. One speaker of each provider sends
// messages; one user more has been removed, and may not. The group belongs to the goroutine that commits; the rest may be read by all.
type forum struct {
	number   int
	room     mimi.RoomURI
	hub, far *side
	group    *mlstest.Group
	groupID  mls.GroupID
	began    mls.Epoch // in which the room was made
	epoch    atomic.Uint64

	speakers [2]mimi.UserURI // by side
	leaves   [2]mls.LeafIndex
	removed  mimi.UserURI

	others  [2]mimi.UserURI // by side: one of them is the removed
	clients map[string]mimi.IdentityURI
	place   uint32 // of the next handshake among those of the room
}

// forumBegins is the epoch in which the hub takes a forum up, so that there are older ones.
const forumBegins = 5

// newForum makes the room's group, of two users of its hub.
func newForum(number int, hub, far *side) (*forum, error) {
	f := &forum{number: number, hub: hub, far: far, began: forumBegins, clients: make(map[string]mimi.IdentityURI)}
	f.groupID = mls.GroupID(fmt.Sprintf("group of forum %d", number))
	var err error
	if f.room, err = mimi.ParseRoomURI(fmt.Sprintf("mimi://%s/r/forum%d", hub.provider.domain, number)); err != nil {
		return nil, err
	}
	for _, s := range []*side{hub, far} {
		f.speakers[s.place], f.others[s.place] = f.user(s, "speaker"), f.user(s, "other")
	}
	f.clients["0"], f.clients["1"] = f.speakers[hub.place], f.others[hub.place]
	f.clients["far0"], f.clients["far1"] = f.client(far, "speaker"), f.client(far, "other")
	lifetime := lifetimeAround(time.Now())
	f.group, err = mlstest.New(mlstest.Config{
		Suite: arenaSuite, Seed: randv2.Uint64(), Members: 2, Parents: true, GroupID: f.groupID, Epoch: f.began,
		Extensions: f.extensions(), Components: mimi.ComponentAppliers(),
		Leaf: func(leaf *mls.LeafNode) {
			identity := string(leaf.Credential.(mls.BasicCredential).Identity) // the simulation makes no others
			leaf.Credential = mls.BasicCredential{Identity: []byte(f.clients[identity[strings.LastIndexByte(identity, '/')+1:]].String())}
			if _, yes := leaf.Source.(mls.Lifetime); yes {
				leaf.Source = lifetime
			}
		},
	})
	f.epoch.Store(uint64(f.began))
	return f, err
}

// side is the provider at a place.
func (f *forum) side(place int) *side {
	if f.hub.place == place {
		return f.hub
	}
	return f.far
}

func (f *forum) user(s *side, role string) mimi.UserURI {
	uri, err := mimi.ParseUserURI(fmt.Sprintf("mimi://%s/u/forum%d-%s", s.provider.domain, f.number, role))
	if err != nil {
		panic(err) // the names are this program's
	}
	return uri
}

func (f *forum) client(s *side, role string) mimi.ClientURI {
	uri, err := mimi.ParseClientURI(fmt.Sprintf("mimi://%s/d/forum%d-%s/1", s.provider.domain, f.number, role))
	if err != nil {
		panic(err) // the names are this program's
	}
	return uri
}

// extensions are those of the first GroupContext: the users of the hub, and no roles, so that every participant may do everything.
func (f *forum) extensions() mls.Extensions {
	list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{
		{User: f.speakers[f.hub.place], Role: arenaRole}, {User: f.others[f.hub.place], Role: arenaRole},
	}}
	return mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{f.hub.hubKey}.Marshal()).
		With(mls.ExtensionAppDataDictionary, mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal()).Marshal())
}

// open makes the room at its hub, brings the other provider's users in as their own providers would, and then removes one user: of the
// hub where the number is even, else of the other provider. What it hands in is entered in the book.
func (f *forum) open(ctx context.Context, b *book) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	err := f.hub.backend.createRoom(ctx, f.room, f.speakers[f.hub.place], f.group.GroupInfo().Marshal(), f.group.Tree())
	if err != nil {
		return fmt.Errorf("make %s: %w", f.room, err)
	}
	packages, err := f.claim(ctx)
	if err != nil {
		return fmt.Errorf("claim for %s: %w", f.room, err)
	}
	join := mlstest.Plan{Path: true}
	update := mimi.ParticipantListUpdate{}
	for i, user := range []mimi.UserURI{f.speakers[f.far.place], f.others[f.far.place]} {
		join.Inline = append(join.Inline, mls.Add{KeyPackage: packages[i]})
		update.Added = append(update.Added, mimi.UserRolePair{User: user, Role: arenaRole})
	}
	join.Inline = append(join.Inline, participants(update))
	if err := f.commit(ctx, b, f.hub, join); err != nil {
		return fmt.Errorf("bring the users of %s in: %w", f.far.provider.domain, err)
	}
	// Leaves and places in the list are in the order in which the users came.
	f.leaves[f.hub.place], f.leaves[f.far.place] = 0, 2
	gone := 1
	f.removed = f.others[f.hub.place]
	if f.number%2 == 1 {
		gone, f.removed = 3, f.others[f.far.place]
	}
	leave := mlstest.Plan{Path: true, Inline: []mls.Proposal{
		mls.Remove{Removed: mls.LeafIndex(gone)}, participants(mimi.ParticipantListUpdate{Removed: []uint32{uint32(gone)}}),
	}}
	if err := f.commit(ctx, b, f.hub, leave); err != nil {
		return fmt.Errorf("remove %s: %w", f.removed, err)
	}
	return nil
}

func participants(update mimi.ParticipantListUpdate) mls.Proposal {
	return mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentUpdate{Update: update.Marshal()}}
}

// claim uploads a KeyPackage for each of the other provider's users, and claims them through the room's hub.
func (f *forum) claim(ctx context.Context) (packages []mls.KeyPackage, err error) {
	users := []mimi.UserURI{f.speakers[f.far.place], f.others[f.far.place]}
	for i, user := range users {
		client, err := f.group.Client(fmt.Sprintf("far%d", i))
		if err != nil {
			return nil, err
		}
		made, err := f.group.KeyPackage(client)
		if err != nil {
			return nil, err
		}
		if _, err := f.far.backend.upload(ctx, user, f.client(f.far, []string{"speaker", "other"}[i]), [][]byte{made.Marshal()}); err != nil {
			return nil, err
		}
	}
	key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
	if err != nil {
		return nil, err
	}
	requester := f.speakers[f.hub.place]
	request, err := mimi.SignedBulkClaim{
		RequestingUser: requester, TargetUsers: users, Room: f.room, Suites: []mls.CipherSuite{arenaSuite},
		Credential: mls.BasicCredential{Identity: []byte(requester.String())},
	}.Signed(key)
	if err != nil {
		return nil, err
	}
	body := request.Marshal()
	err = until(ctx, "have the claim decided", func(ctx context.Context) error {
		reply, err := f.hub.backend.octets(ctx, nil, "/v1/bulkKeyMaterial", body)
		if err != nil {
			return err
		}
		packages, err = claimed(reply.body, len(users))
		return err
	})
	return packages, err
}

// claimed reads one KeyPackage of each user.
func claimed(body []byte, users int) (packages []mls.KeyPackage, err error) {
	response, err := mimi.ParseBulkKeyMaterialResponse(body)
	if err != nil {
		return nil, err
	}
	for _, part := range response.Users {
		if len(part.Clients) != 1 {
			return nil, fmt.Errorf("%s: %s, %d clients", part.User, part.Status, len(part.Clients))
		}
		given, yes := part.Clients[0].Material.(mimi.ClaimedKeyPackage)
		if !yes {
			return nil, fmt.Errorf("%s: %s", part.User, part.Status)
		}
		packages = append(packages, given.KeyPackage)
	}
	if len(packages) != users {
		return nil, fmt.Errorf("%d of %d users were answered", len(packages), users)
	}
	return packages, nil
}

// commit makes a Commit and has it accepted through the provider of its committer.
func (f *forum) commit(ctx context.Context, b *book, through *side, plan mlstest.Plan) error {
	step, err := f.group.Commit(plan)
	if err != nil {
		return err
	}
	message := mls.MLSMessage{Body: step.Message}
	f.enter(b, message, letter{kind: kindForumCommit, origin: through.place})
	bundle := mimi.CommitBundle{
		Commit: message, Welcome: step.Welcome, GroupInfo: mimi.FullGroupInfo{GroupInfo: step.GroupInfo}, Tree: mimi.FullTree{Encoded: step.After.Tree()},
	}
	if step.Welcome != nil {
		b.enter(sha256.Sum256(mls.MLSMessage{Body: step.Welcome}.Marshal()), letter{kind: kindForumWelcome, forum: f, to: only(f.far), origin: f.hub.place})
	}
	if err := f.ask(ctx, through, bundle); err != nil {
		return err
	}
	b.accepted(sha256.Sum256(message.Marshal()))
	if step.Welcome != nil {
		b.accepted(sha256.Sum256(mls.MLSMessage{Body: step.Welcome}.Marshal()))
	}
	f.group = step.After
	f.epoch.Store(uint64(f.group.Epoch()))
	return nil
}

// propose has a member's Update wait in the room, and returns its reference. It goes through a gate in bulk, and by itself where that is nil.
func (f *forum) propose(ctx context.Context, b *book, through *side, g gate) (mls.ProposalRef, error) {
	member := f.leaves[through.place]
	update, err := f.group.Update(member)
	if err != nil {
		return "", err
	}
	made, ref, err := f.group.Propose(mls.MemberSender{Leaf: member}, update)
	if err != nil {
		return "", err
	}
	message := mls.MLSMessage{Body: made}
	bundle := mimi.ProposalBundle{Proposals: []mls.MLSMessage{message}}
	f.enter(b, message, letter{kind: kindForumProposal, origin: through.place})
	b.names(ref, bundle.Receipt())
	if g != nil {
		return ref, f.submit(ctx, b, g, submission{forum: f, hash: bundle.Receipt(), kind: mimi.SubmissionProposals, body: bundle.Marshal()})
	}
	if err := f.ask(ctx, through, bundle); err != nil {
		return "", err
	}
	b.accepted(bundle.Receipt())
	return ref, nil
}

// submit has something accepted that is submitted in bulk, though it be alone.
func (f *forum) submit(ctx context.Context, b *book, g gate, s submission) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	err := until(ctx, "have a Proposal taken", func(ctx context.Context) error {
		told, err := g.submit(ctx, []submission{s})
		switch {
		case err != nil:
			return err
		case told[0].state == receiptAccepted:
			b.accepted(s.hash)
		case told[0].state == receiptRejected:
			b.rejects(s.hash, told[0].verdict, told[0].current)
		case told[0].state.waits():
			b.keeps(s.hash, told[0].state)
		default:
			return errors.New("it is not decided")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return until(ctx, "wait for a Proposal's verdict", func(context.Context) error {
		if b.fateOf(s.hash) != fateAccepted {
			return errors.New("it is not accepted")
		}
		return nil
	})
}

// enter gives a handshake its place among those of the room.
func (f *forum) enter(b *book, message mls.MLSMessage, l letter) {
	raw := message.Marshal()
	l.forum, l.to, l.epoch, l.bytes, l.first, l.last = f, everybody, f.group.Epoch(), len(raw), f.place, f.place
	b.enter(sha256.Sum256(raw), l)
	f.place++
}

// ask hands a bundle in until it is decided. Everything that a forum makes is valid, so that anything but acceptance is an error.
func (f *forum) ask(ctx context.Context, through *side, bundle mimi.HandshakeBundle) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	decided, err := through.backend.update(ctx, nil, f.room, bundle.Marshal())
	if err != nil {
		return err
	}
	if _, yes := decided.Result.(mimi.UpdateSuccess); !yes {
		return fmt.Errorf("%s answered %s: %s", decided.node.ID, decided.Result.Code(), decided.Description)
	}
	return nil
}
