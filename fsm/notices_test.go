package fsm_test

import (
	"reflect"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// newBulk is a whole shard of the format for bulk, whose backend tells b.example of deleted users.
func newBulk(t *testing.T) *whole {
	t.Helper()
	return newWholeOf(t, fourthSettings(hub))
}

// notices are those that a destination has been told, in order.
func (w *whole) notices(destination mimi.Provider) (all []mimi.Notice) {
	w.t.Helper()
	for _, item := range w.items(destination) {
		for _, n := range item.Notes {
			if n, ok := n.(fsm.Noticed); ok {
				all = append(all, n.Notice)
			}
		}
	}
	return all
}

func (w *whole) expectNotices(destination mimi.Provider, want ...mimi.Notice) {
	w.t.Helper()
	if got := w.notices(destination); !reflect.DeepEqual(got, want) {
		w.t.Errorf("%s is told\n%+v, not\n%+v", destination, got, want)
	}
}

// The provider of a Proposal's sender is told what became of it, with the Commit that ended its epoch; nobody else is.
func TestProposalFateIsTold(t *testing.T) {
	w := newBulk(t)
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	taken, dropped, own := r.Propose(0, bob, "taken"), r.Propose(0, bob, "dropped"), r.Propose(0, alice, "own")
	for _, c := range []fsm.Command{taken, dropped, own} {
		outcomeOf[fsm.Accepted](t, w.apply(c))
	}
	external := r.Propose(0, bob, "external")
	external.Sender = mimi.UserURI{}
	outcomeOf[fsm.Accepted](t, w.apply(external))
	w.expectNotices(peer)

	commit := r.Commit(fsmtest.Next{Label: "c", Proposals: []mls.ProposalRef{taken.Proposals[0].Ref}})
	w.commit(r, commit)
	w.expectNotices(peer,
		mimi.ProposalFate{Ref: taken.Proposals[0].Ref, End: mimi.ProposalCommitted, Epoch: 0},
		mimi.ProposalFate{Ref: dropped.Proposals[0].Ref, End: mimi.ProposalDropped, Epoch: 0})
	w.expectNotices(hub, mimi.ProposalFate{Ref: own.Proposals[0].Ref, End: mimi.ProposalDropped, Epoch: 0})
	items := w.items(peer)
	if last := items[len(items)-1]; len(last.Body) == 0 || len(last.Notes) != 2 {
		t.Errorf("the fates do not come with the Commit: %+v", last)
	}
	w.apply(commit) // a retry tells nothing twice
	w.expectNotices(hub, mimi.ProposalFate{Ref: own.Proposals[0].Ref, End: mimi.ProposalDropped, Epoch: 0})
}

// A Commit that changes policy says so to all who get it, and whose voice it gives or takes; of those who are participants before and
// after it.
func TestPolicyAndVoiceAreTold(t *testing.T) {
	w := newBulk(t)
	carol := user("carol")
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob, carol}, []mimi.Provider{hub, peer})
	w.create(r)
	commit := func(label string, changes mimi.PolicyChange, silent []uint32, participants ...fsm.Participant) {
		t.Helper()
		c := r.Commit(fsmtest.Next{Label: label, Participants: participants})
		c.PolicyChanges, c.Ruling = changes, fsm.Ruling{Made: true, Member: true, Rules: fsm.RoomRules{Silent: silent}}
		w.commit(r, c)
	}
	commit("silence", mimi.RolesChanged, []uint32{7}, fsm.Participant{User: alice, Role: 2}, fsm.Participant{User: bob, Role: 7}, fsm.Participant{User: carol, Role: 7})
	silenced := []mimi.Notice{
		mimi.PolicyChanged{Epoch: 1, Changes: mimi.RolesChanged},
		mimi.VoiceChanged{Epoch: 1, Lost: []mimi.UserURI{bob, carol}},
	}
	w.expectNotices(peer, silenced...)
	w.expectNotices(hub, silenced...)

	commit("characteristics", mimi.CharacteristicsChanged, []uint32{7})
	more := append(silenced, mimi.PolicyChanged{Epoch: 2, Changes: mimi.CharacteristicsChanged})
	w.expectNotices(peer, more...)

	commit("nothing", 0, []uint32{7})
	w.expectNotices(peer, more...)

	// Bob is heard again by his new role, Carol is gone.
	commit("voice", mimi.RolesChanged|mimi.PreauthorizationChanged, []uint32{7}, fsm.Participant{User: alice, Role: 2}, fsm.Participant{User: bob, Role: 2})
	more = append(more, mimi.PolicyChanged{Epoch: 4, Changes: mimi.RolesChanged | mimi.PreauthorizationChanged},
		mimi.VoiceChanged{Epoch: 4, Gained: []mimi.UserURI{bob}})
	w.expectNotices(peer, more...)
	w.expectNotices(hub, more...)
}

// A large room's voices come in several notices, none of which is too large to be read.
func TestManyVoices(t *testing.T) {
	w := newBulk(t)
	users := []mimi.UserURI{alice}
	for i := range 2500 {
		users = append(users, user("u"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676))))
	}
	r := fsmtest.NewRoom(club, 0, users, []mimi.Provider{hub, peer})
	w.create(r)
	c := r.Commit(fsmtest.Next{Label: "silence"})
	c.PolicyChanges, c.Ruling = mimi.RolesChanged, fsm.Ruling{Made: true, Member: true, Rules: fsm.RoomRules{Silent: []uint32{c.Facts.Participants[0].Role}}}
	w.commit(r, c)
	lost := 0
	for _, n := range w.notices(peer) {
		if voice, ok := n.(mimi.VoiceChanged); ok {
			lost += len(voice.Lost)
			if len(voice.Lost) > 1000 {
				t.Errorf("%d users in a notice", len(voice.Lost))
			}
			if _, err := mimi.ParseNotice(mimi.MarshalNotice(n)); err != nil {
				t.Error(err)
			}
		}
	}
	if lost != len(users) {
		t.Errorf("%d of %d voices are told", lost, len(users))
	}
}

func TestDestructionIsTold(t *testing.T) {
	w := newBulk(t)
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	pending := r.Propose(0, bob, "pending")
	outcomeOf[fsm.Accepted](t, w.apply(pending))
	outcomeOf[fsm.Accepted](t, w.destroy(club))
	w.expectNotices(peer, mimi.ProposalFate{Ref: pending.Proposals[0].Ref, End: mimi.ProposalDropped, Epoch: 0}, mimi.RoomDestroyed{})
	items := w.items(hub)
	if last := items[len(items)-1]; !reflect.DeepEqual(last.Notes, []fsm.Note{fsm.RoomWasDestroyed{}}) {
		t.Errorf("the local provider is told %+v", last.Notes)
	}
}

// The peers that the settings name are told of each deleted user of this provider once, in an item of no room; not of a lost client, nor
// of another provider's user.
func TestDeletionIsTold(t *testing.T) {
	w := newBulk(t)
	w.apply(fsm.RecordDeparture{User: bob})
	w.apply(fsm.RecordDeparture{User: alice, Client: client("alice1")})
	w.expectNotices(peer)
	gone := outcomeOf[fsm.Accepted](t, w.apply(fsm.RecordDeparture{User: alice}))
	w.apply(fsm.RecordDeparture{User: alice})
	w.expectNotices(peer, mimi.UserDeleted{User: alice, Millis: gone.Millis})
	if items := w.items(peer); len(items) != 1 || !items[0].Room.IsZero() || len(items[0].Body) != 0 {
		t.Errorf("the peer gets %+v", items)
	}
}

// In a shard of an older format nobody is told, and a Proposal that began to wait before the raise has nobody to be told.
func TestNoNoticesBeforeTheFormat(t *testing.T) {
	w := newWhole(t)
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	outcomeOf[fsm.Accepted](t, w.apply(r.Propose(0, bob, "before")))
	w.apply(fsm.EnterSettings{Version: 2, Settings: fourthSettings(hub)})
	after := r.Propose(0, bob, "after")
	outcomeOf[fsm.Accepted](t, w.apply(after))
	commit := r.Commit(fsmtest.Next{Label: "c"})
	commit.Reads.Enforcement = 2
	w.commit(r, commit)
	w.expectNotices(peer, mimi.ProposalFate{Ref: after.Proposals[0].Ref, End: mimi.ProposalDropped, Epoch: 0})
}
