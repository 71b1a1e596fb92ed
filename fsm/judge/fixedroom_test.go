package judge

import (
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
)

// fixedHouse is a house of fixed membership, in which alice may end that.
func fixedHouse() *house {
	h := freeHouse()
	h.roles[roleAdmin].Capabilities = []mimi.Capability{mimi.CanChangeRoomMembershipStyle}
	return h.with(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true, FixedMembership: true})
}

func (m *maker) forgo(set fsm.MemberSet, asker mimi.UserURI) fsm.Outcome {
	m.t.Helper()
	return m.do(constructed(NewForgoMembers(houseURI, set, 1, asker)))
}

func TestFixedRoomsAreReservedFirst(t *testing.T) {
	m := openMaker(t)
	h := fixedHouse()
	h.unreserved = true
	if no := want[fsm.NotAllowed](t, h.found(m)); !strings.Contains(no.Reason, "reserved first") {
		t.Errorf("%q", no.Reason)
	}
}

// A room keeps the set that it was created with while it is there and of fixed membership, and tells its name to those in it alone.
func TestFixedRoomKeepsItsMembers(t *testing.T) {
	m := fixedHouse().open(t)
	set, held, err := fsm.ReadHeldMembers(m.store, houseURI)
	m.ok(err)
	if !held {
		t.Fatal("the room has no set of participants")
	}
	for asker, told := range map[mimi.UserURI]mimi.RoomURI{user("alice"): houseURI, user("bob"): houseURI, user("mallory"): {}, user("erin"): {}} {
		if o := want[fsm.MembersHeld](t, m.forgo(set, asker)); o.Room != told {
			t.Errorf("%s is told %q", asker, o.Room)
		}
	}
	other := set
	other[0] ^= 1
	want[fsm.Done](t, m.forgo(other, user("alice")))
	m.accepted("a.example", byAlice(update(mimi.ComponentBaseRoomPolicy, mimi.BaseRoomPolicy{MultiDevice: true}))(m))
	want[fsm.Done](t, m.forgo(set, user("alice")))
}

func TestFixedRoomThatWasDestroyedForgoes(t *testing.T) {
	m := fixedHouse().open(t)
	set, _, err := fsm.ReadHeldMembers(m.store, houseURI)
	m.ok(err)
	want[fsm.Accepted](t, m.do(constructed(NewDestroyRoom(houseURI))))
	want[fsm.Done](t, m.forgo(set, user("alice")))
}
