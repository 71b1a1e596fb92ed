package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// What a hub delivers does not name its room but in the path; what it carries names a group. Which room of the hub a group is of is kept
// where the group falls, and asked when a room brings a group that it has not brought before: so one room's messages cannot come in under
// another's name. Each hub's groups are its own, and it can take none from another, or from a room here.

// FollowGroup says that a group of another hub is to be a room's. Done, or NotAllowed where it is another's already.
type FollowGroup struct {
	Hub   mimi.Provider
	Group mls.GroupID
	Room  mimi.RoomURI
}

func (c FollowGroup) Slot() SlotID    { return slotOfFollowed(c.Hub, c.Group) }
func (FollowGroup) Lane() Lane        { return Bulk }
func (FollowGroup) kind() CommandKind { return KindFollowGroup }

func slotOfFollowed(hub mimi.Provider, group mls.GroupID) SlotID {
	return slotOf("group of " + hub.String() + " " + string(group))
}

func followedKey(hub mimi.Provider, group mls.GroupID) key {
	return newKey(slotOfFollowed(hub, group), keyFollowedGroup).provider(hub).group(group)
}

// ReadFollowedGroup returns the room of a hub that a group is known to be of; false where it is not known.
func ReadFollowedGroup(r Reader, hub mimi.Provider, group mls.GroupID) (mimi.RoomURI, bool, error) {
	return readRecord(r, followedKey(hub, group), "room of a followed group", readUserRoom)
}

func (t *tx) followGroup(c FollowGroup) Outcome {
	room, known := get(t, func(r Reader) (mimi.RoomURI, bool, error) { return ReadFollowedGroup(r, c.Hub, c.Group) })
	switch {
	case known && room != c.Room:
		return NotAllowed{Reason: "the group_id is that of another room of this hub"}
	case !known:
		t.set(followedKey(c.Hub, c.Group), record(c.Room.AppendTo))
	}
	return Done{}
}

//	struct {
//	    opaque hub<V>;
//	    opaque group_id<V>;
//	    opaque room<V>;
//	} FollowGroup;
func (c FollowGroup) appendTo(w *mls.Writer) {
	c.Hub.AppendTo(w)
	appendText(w, c.Group)
	c.Room.AppendTo(w)
}

func readFollowGroup(r *mls.Reader) FollowGroup {
	return FollowGroup{Hub: mimi.ReadProvider(r, "hub"), Group: readText[mls.GroupID](r, "group_id"), Room: mimi.ReadRoomURI(r, "room")}
}
