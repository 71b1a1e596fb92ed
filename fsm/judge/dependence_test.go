package judge

import (
	"fmt"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// dependentHouse is a house of alice and bob alone that depends on a room.
func dependentHouse(parent string) *house {
	h := freeHouse()
	h.list = h.list[:2]
	h.clients = h.clients[:3]
	return h.with(mimi.ComponentPreauthorization, preauth()).with(mimi.ComponentBaseRoomPolicy, dependingOn(parent))
}

func dependingOn(parent string) mimi.BaseRoomPolicy {
	return mimi.BaseRoomPolicy{MultiDevice: true, ParentDependent: true, ParentRooms: []string{parent}}
}

// at is the maker in another of its rooms.
func (m *maker) at(room mimi.RoomURI) *maker { m.recording.Room.URI = room; return m }

// openUnder is a maker in a house that depends on the recorded room.
func openUnder(t *testing.T) (m *maker, parent mimi.RoomURI) {
	t.Helper()
	parent = foundation(t).recording.Room.URI
	return dependentHouse(parent.String()).open(t), parent
}

func TestParentsOfNewRooms(t *testing.T) {
	for parent, because := range map[string]string{
		"mimi://b.example/r/theirs": "is of another provider", houseURI.String(): "cannot depend on itself",
	} {
		if no := want[fsm.NotAllowed](t, dependentHouse(parent).found(openMaker(t))); !strings.Contains(no.Reason, because) {
			t.Errorf("%s is refused because %q", parent, no.Reason)
		}
	}
	m := openMaker(t)
	parent := m.recording.Room.URI
	want[fsm.Done](t, m.do(constructed(NewConsiderParent(parent, []mimi.UserURI{user("alice"), user("bob")}))))
	for because, r := range map[string]struct {
		parent mimi.RoomURI
		users  []mimi.UserURI
	}{
		"there is no parent room": {houseURI, nil}, "erin is not a participant of the parent": {parent, []mimi.UserURI{user("alice"), user("erin")}},
	} {
		if no := want[fsm.NotAllowed](t, m.do(constructed(NewConsiderParent(r.parent, r.users)))); !strings.Contains(no.Reason, because) {
			t.Errorf("refused because %q, not %q", no.Reason, because)
		}
	}
	others := fsm.ReceiveInternal{At: fsm.SlotOfRoom(parent), From: fsm.SlotOfRoom(houseURI), First: 1}
	for i := range fsm.DependantsMax {
		other, err := mimi.ParseRoomURI(fmt.Sprint("mimi://a.example/r/other", i))
		m.ok(err)
		others.Effects = append(others.Effects, fsm.DependsOn{Parent: parent, Dependant: other})
	}
	want[fsm.Received](t, m.apply(others))
	if no := want[fsm.NotAllowed](t, m.do(constructed(NewConsiderParent(parent, nil)))); !strings.Contains(no.Reason, "1000 rooms depend") {
		t.Errorf("%q", no.Reason)
	}
	want[fsm.Accepted](t, m.destroy())
	if no := want[fsm.NotAllowed](t, m.do(constructed(NewConsiderParent(parent, nil)))); !strings.Contains(no.Reason, "there is no parent room") {
		t.Errorf("%q", no.Reason)
	}
}

// Nobody joins a dependant who is not in its parent, nor before that has told who is.
func TestDependantsAreJoinedFromTheParent(t *testing.T) {
	m, parent := openUnder(t)
	add := byAlice(listed("erin", roleMember))
	m.refused("a.example", add(m), "are not known here yet")
	m.carry()
	m.refused("a.example", add(m), "erin is not a participant of the parent room "+parent.String())

	m.at(parent).accepted("a.example", m.commit("alice1", false, inline(addToList(user("erin").String()))))
	m.at(houseURI).refused("a.example", add(m), "erin is not a participant of the parent room")
	m.carry()
	m.accepted("a.example", add(m))
}

// Who joins from outside has to be in the parent, too.
func TestDependantsAreJoinedFromOutside(t *testing.T) {
	parent := foundation(t).recording.Room.URI
	h := dependentHouse(parent.String())
	h.allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleMember)
	m := h.open(t)
	m.carry()
	join := func() mimi.HandshakeBundle { return m.joinAs("erin", listed("erin", roleMember)) }
	m.refused("a.example", join(), "erin is not a participant of the parent room")
	m.at(parent).accepted("a.example", m.commit("alice1", false, inline(addToList(user("erin").String()))))
	m.carry()
	m.at(houseURI).accepted("a.example", join())
}

// Of a user who leaves the parent the hub proposes to remove all that is in the dependant.
func TestHubRemovesWhoLeftTheParent(t *testing.T) {
	m, parent := openUnder(t)
	m.carry()
	bobs := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob2")}
	m.at(parent)
	m.accepted("a.example", m.commit("alice1", true, inline(
		mls.Remove{Removed: m.leaf("bob1")}, mls.Remove{Removed: m.leaf("bob2")}, mls.Remove{Removed: m.leaf("bob3")},
		listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{1}}),
	), m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")))
	m.carry()
	m.at(houseURI)
	m.refused("b.example", m.commit("bob1", true, nil), "bob is not in the room on which this one depends")
	m.wantRemovals(m.usher(), bobs, 1)
	m.accepted("a.example", m.commit("alice1", true, m.pendingRefs(), bobs...))
	if made := m.usher(); len(made) != 0 || m.departing() != 0 || len(m.state().Participants) != 1 {
		t.Fatalf("with nothing left the hub proposes %v; %d have to leave", made, m.departing())
	}
	m.refused("a.example", byAlice(listed("bob", roleMember))(m), "bob is not a participant of the parent room")
	m.at(parent).accepted("a.example", m.commit("alice1", false, inline(addToList(user("bob").String()))))
	m.carry()
	m.at(houseURI).accepted("a.example", byAlice(listed("bob", roleMember))(m))
}
