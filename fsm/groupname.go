package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// A group belongs to one room of this hub: who receives its messages knows them by their group_id alone. The slot that the group_id
// falls into decides whose it is, before the room is created in its own slot. A reservation that no room came of stands for its room
// alone, and in nobody's way who asks again.

// ReserveGroup says that a group is to be a room's.
type ReserveGroup struct {
	Group mls.GroupID
	Room  mimi.RoomURI
}

func (c ReserveGroup) Slot() SlotID    { return SlotOfGroup(c.Group) }
func (ReserveGroup) Lane() Lane        { return Exclusive }
func (ReserveGroup) kind() CommandKind { return KindReserveGroup }

// SlotOfGroup returns the slot that knows which room a group belongs to.
func SlotOfGroup(group mls.GroupID) SlotID { return slotOf("group " + string(group)) }

func groupRoomKey(group mls.GroupID) key {
	return newKey(SlotOfGroup(group), keyGroupRoom).group(group)
}

// ReadGroupRoom returns the room that a group is reserved for; false where it is for none.
func ReadGroupRoom(r Reader, group mls.GroupID) (mimi.RoomURI, bool, error) {
	return readRecord(r, groupRoomKey(group), "room of a group", readUserRoom)
}

func (t *tx) reserveGroup(c ReserveGroup) Outcome {
	room, taken := get(t, func(r Reader) (mimi.RoomURI, bool, error) { return ReadGroupRoom(r, c.Group) })
	switch {
	case taken && room != c.Room:
		return NotAllowed{Reason: "the group_id is that of another room of this hub"}
	case !taken:
		t.set(groupRoomKey(c.Group), record(c.Room.AppendTo))
	}
	return Done{}
}

//	struct {
//	    opaque group_id<V>;
//	    opaque room<V>;
//	} ReserveGroup;
func (c ReserveGroup) appendTo(w *mls.Writer) {
	appendText(w, c.Group)
	c.Room.AppendTo(w)
}

func readReserveGroup(r *mls.Reader) ReserveGroup {
	return ReserveGroup{Group: readText[mls.GroupID](r, "group_id"), Room: mimi.ReadRoomURI(r, "room")}
}
