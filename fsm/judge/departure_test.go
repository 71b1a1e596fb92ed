package judge

import (
	"errors"
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// depart tells the hub that a user of b.example is gone, or one of its clients, and carries it to the room.
func (m *maker) depart(client string) {
	m.t.Helper()
	user, uri := m.client("bob1").User, mimi.ClientURI{}
	if client != "" {
		uri = m.client(client).URI
	}
	want[fsm.Accepted](m.t, m.do(constructed(NewDepart(user.Provider(), user, uri))))
	m.carry()
}

// carry brings over what waits in the internal queues.
func (m *maker) carry() {
	m.t.Helper()
	for moved := true; moved; {
		moved = false
		for slot := range fsm.SlotID(fsm.SlotCount) {
			var batches []fsm.ReceiveInternal
			m.ok(fsm.InternalQueues(m.store, slot, func(q fsm.InternalQueue) (bool, error) {
				batch := fsm.ReceiveInternal{At: q.To, From: q.From, First: q.Next - q.Waiting}
				err := fsm.ReadInternal(m.store, q.From, q.To, func(item fsm.InternalItem) (bool, error) {
					batch.Effects = append(batch.Effects, item.Effect)
					return true, nil
				})
				if len(batch.Effects) > 0 {
					batches = append(batches, batch)
				}
				return true, err
			}))
			for _, batch := range batches {
				moved = true
				next := want[fsm.Received](m.t, m.apply(batch)).Next
				m.apply(fsm.DropInternal{At: slot, To: batch.At, Next: next})
			}
		}
	}
}

// usher does what the leader of the room's shard does, and returns the Proposals that are new.
func (m *maker) usher() (made []mls.Proposal) {
	m.t.Helper()
	before := m.pending()
	commands, err := Departures(Remembering{Reader: m.store, Groups: noGroups{}, Signers: m}, m.recording.Room.URI)
	m.ok(err)
	for _, c := range commands {
		switch o := m.apply(c).(type) {
		case fsm.Accepted, fsm.Done:
		default:
			m.t.Fatalf("%T: %T%+v", c, o, o)
		}
	}
	for ref, p := range m.pending() {
		if _, known := before[ref]; !known {
			made = append(made, p)
		}
	}
	return made
}

// pending are the Proposals that wait, each verified as one that came by itself.
func (m *maker) pending() map[mls.ProposalRef]mls.Proposal {
	m.t.Helper()
	all, err := fsm.ReadAllPending(m.store, m.recording.Room.URI)
	m.ok(err)
	waiting := make(map[mls.ProposalRef]mls.Proposal)
	for _, p := range all {
		message, err := mls.ParseMLSMessage(p.Message)
		m.ok(err)
		state := m.state()
		ref, err := state.group.VerifyProposal(publicOf(message), state.now)
		m.ok(err)
		if ref != p.Ref {
			m.t.Errorf("a Proposal waits under %x and has the reference %x", p.Ref, ref)
		}
		waiting[ref] = publicOf(message).Content.Body.(mls.Proposal)
	}
	return waiting
}

func (m *maker) pendingRefs() (refs []mls.ProposalOrRef) {
	for ref := range m.pending() {
		refs = append(refs, ref)
	}
	return refs
}

// removals takes Proposals apart into the leaves and the places of the list that they clear.
func removals(proposals []mls.Proposal) (leaves []mls.LeafIndex, places []uint32) {
	for _, p := range proposals {
		switch p := p.(type) {
		case mls.Remove:
			leaves = append(leaves, p.Removed)
		case mls.AppDataUpdate:
			places = append(places, removedPlaces(p)...)
		}
	}
	slices.Sort(leaves)
	return leaves, places
}

func (m *maker) wantRemovals(proposals []mls.Proposal, leaves []mls.LeafIndex, places ...uint32) {
	m.t.Helper()
	slices.Sort(leaves)
	gotLeaves, gotPlaces := removals(proposals)
	if !slices.Equal(gotLeaves, leaves) || !slices.Equal(gotPlaces, places) || len(proposals) != len(leaves)+len(places) {
		m.t.Fatalf("the hub proposes to remove leaves %v and places %v with %d Proposals, not %v and %v", gotLeaves, gotPlaces, len(proposals), leaves, places)
	}
}

func (m *maker) departing() uint32 { return m.state().Departing }

// Of a deleted user the hub proposes to remove each leaf and the place in the list, once in an epoch, again in the next while a Commit
// does not do it, and no more when nothing is left.
func TestHubRemovesADeletedUser(t *testing.T) {
	m := openMaker(t)
	m.carry()
	bobs := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")}
	m.depart("")
	m.wantRemovals(m.usher(), bobs, 1)
	if again := m.usher(); len(again) != 0 {
		t.Fatalf("in the same epoch the hub proposes %v again", again)
	}
	m.accepted("a.example", m.commit("alice1", false, inline(m.rename())))
	m.wantRemovals(m.usher(), bobs, 1)
	m.accepted("a.example", m.commit("alice1", true, m.pendingRefs(), bobs...))
	if made := m.usher(); len(made) != 0 || m.departing() != 0 {
		t.Fatalf("with nothing left the hub proposes %v; %d have to leave", made, m.departing())
	}
	if participants := m.state().Participants; len(participants) != 1 {
		t.Errorf("the list is %v", participants)
	}
	m.refused("a.example", m.commit("alice1", false, inline(addToList("mimi://b.example/u/bob"))), "bob was deleted")
}

// A lost client is taken out, and its user stays.
func TestHubRemovesALostClient(t *testing.T) {
	m := openMaker(t)
	m.carry()
	leaf := m.leaf("bob2")
	m.depart("bob2")
	m.wantRemovals(m.usher(), []mls.LeafIndex{leaf})
	m.accepted("a.example", m.commit("alice1", true, m.pendingRefs(), leaf))
	if made := m.usher(); len(made) != 0 || m.departing() != 0 {
		t.Fatalf("with nothing left the hub proposes %v; %d have to leave", made, m.departing())
	}
	k := m.keyPackage(m.newKey(), basic(m.client("bob2").URI.String()))
	m.route(k, m.client("bob2").URI)
	m.refused("a.example", m.commit("alice1", false, inline(mls.Add{KeyPackage: k})), "bob2 was removed by its provider")
	m.accepted("b.example", m.commit("bob1", false, inline(m.rename())))
}

// What somebody else proposes already, or a member by leaving, the hub does not propose beside it.
func TestHubProposesNothingTwice(t *testing.T) {
	m := openMaker(t)
	m.carry()
	bobs := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")}
	want[fsm.Accepted](t, m.send(provider(t, "a.example"), m.propose(
		m.message(m.key("alice1"), mls.MemberSender{Leaf: m.leaf("alice1")}, mls.Remove{Removed: bobs[0]}),
		m.message(m.key("alice1"), mls.MemberSender{Leaf: m.leaf("alice1")}, listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{1}})),
	)))
	m.depart("")
	m.wantRemovals(m.usher(), bobs[1:])
}

// An external Commit makes the hub's Proposals void. Those of the new epoch go out with it, and wait from then on.
func TestExternalCommitRenewsTheHubsProposals(t *testing.T) {
	for name, mute := range map[string]bool{"stapled": false, "where nobody can sign": true} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			m.carry()
			leaf := m.leaf("bob2")
			m.depart("bob2")
			m.wantRemovals(m.usher(), []mls.LeafIndex{leaf})
			old := m.pendingRefs()
			m.mute = mute
			m.accepted("a.example", m.join(m.newKey(), basic(m.client("alice1").URI.String()), nil))
			m.mute = false
			var waiting []mls.Proposal
			for ref, p := range m.pending() {
				if slices.Contains(old, mls.ProposalOrRef(ref)) {
					t.Error("a Proposal of the epoch before waits")
				}
				waiting = append(waiting, p)
			}
			if mute {
				m.wantRemovals(waiting, nil)
				m.wantRemovals(m.usher(), []mls.LeafIndex{leaf})
			} else {
				m.wantRemovals(waiting, []mls.LeafIndex{leaf})
			}
			if again := m.usher(); len(again) != 0 {
				t.Errorf("the hub proposes %v beside them", again)
			}
			stapled := m.stapled()
			if mute && len(stapled) != 0 || !mute && len(stapled) != 1 {
				t.Errorf("%d Proposals went out with the Commit", len(stapled))
			}
			m.accepted("a.example", m.commit("alice1", true, m.pendingRefs(), leaf))
		})
	}
}

// stapled are the Proposals that went out with the last Commit.
func (m *maker) stapled() (last []mls.MLSMessage) {
	m.t.Helper()
	m.ok(fsm.ReadOutbox(m.store, fsm.SlotOfRoom(m.recording.Room.URI), provider(m.t, "b.example"), 0, func(item fsm.OutboxItem) (bool, error) {
		messages, err := mimi.ParseFanout(item.Body)
		for _, message := range messages {
			if commit, ok := message.Event.(mimi.FanoutCommit); ok {
				last = commit.ExternalProposals
			}
		}
		return true, err
	}))
	return last
}

// Who is gone may send nothing more, whichever way.
func TestTheDepartedSendNothing(t *testing.T) {
	m := openMaker(t)
	m.carry()
	m.depart("bob2")
	m.refused("b.example", m.commit("bob2", false, inline(m.rename())), "bob2 was removed by its provider")
	m.depart("")
	m.refused("b.example", m.commit("bob1", false, inline(m.rename())), "bob was deleted")
	m.refused("b.example", m.join(m.newKey(), basic(m.client("bob1").URI.String()), nil), "bob was deleted")
}

// A hub whose key the room does not list, or this node does not have, says so, and does what needs no key.
func TestHubWithoutAVoice(t *testing.T) {
	m := openMaker(t)
	m.carry()
	m.depart("bob2")
	m.mute = true
	replica := Remembering{Reader: m.store, Groups: noGroups{}, Signers: m}
	if commands, err := Departures(replica, m.recording.Room.URI); !errors.Is(err, ErrNoVoice) || len(commands) != 0 {
		t.Errorf("%v, %v", commands, err)
	}
	if _, err := Departures(m.store, m.recording.Room.URI); !errors.Is(err, ErrNoVoice) {
		t.Errorf("without any keys: %v", err)
	}
}

func TestDepartIsToldByTheUsersProvider(t *testing.T) {
	m := openMaker(t)
	bob := m.client("bob1")
	if no := want[fsm.NotAllowed](t, m.do(constructed(NewDepart(provider(t, "c.example"), bob.User, bob.URI)))); no.Reason != "the user belongs to another provider" {
		t.Errorf("refused for %q", no.Reason)
	}
	if _, err := NewDepart(bob.User.Provider(), bob.User, m.client("alice1").URI); err == nil {
		t.Error("another provider's client of the user was taken")
	}
}
