package fsm

import (
	"parley/mimi"
	"parley/mls"
)

const (
	OutcomeFollowedEpoch  OutcomeKind = 92
	OutcomeStaleRooms     OutcomeKind = 93
	OutcomeStaleDescribed OutcomeKind = 94
)

// FollowedEpoch is in which epoch the group of a room of another hub was seen here last. It is read, never stored.
type FollowedEpoch struct {
	Known   bool
	GroupID mls.GroupID
	Epoch   mls.Epoch
}

// StaleRoomList are stale rooms of one slot. It is read, never stored.
type StaleRoomList struct {
	Rooms []StaleRoomEntry
	Whole bool // the slot's pass has come to all of its rooms, and there are no more
}

// StaleRoomEntry is one of them.
type StaleRoomEntry struct {
	Room mimi.RoomURI
	StaleRoom
}

// StaleRoomDescribed describes a room that is stale: what is said of its group is what the hub still knows.
type StaleRoomDescribed struct {
	Room  RoomDescribed
	Stale StaleRoom
}

func (FollowedEpoch) outcomeKind() OutcomeKind      { return OutcomeFollowedEpoch }
func (StaleRoomList) outcomeKind() OutcomeKind      { return OutcomeStaleRooms }
func (StaleRoomDescribed) outcomeKind() OutcomeKind { return OutcomeStaleDescribed }

// ReadFollowedEpoch returns the highest epoch of a followed room's group that anything which came was of, or began; what waits for what is before it counts.
func ReadFollowedEpoch(r Reader, room mimi.RoomURI, hub mimi.Provider) (FollowedEpoch, error) {
	s, err := readHubStreamOf(r, room, hub)
	if err != nil {
		return FollowedEpoch{}, err
	}
	seen := FollowedEpoch{Known: s.placed, GroupID: s.group, Epoch: s.epoch}
	if !s.placed {
		seen = FollowedEpoch{}
	}
	prefix := roomKey(keyHubHeld, room).provider(hub)
	err = scanRecords(r, prefix, "body that waits", readHeldBody, func(_ []byte, h heldBody) (bool, error) {
		for _, m := range h.messages {
			epoch := m.Epoch
			if m.Kind == HubCommit {
				epoch++
			}
			if m.Group != "" && (!seen.Known || m.Group != seen.GroupID || epoch > seen.Epoch) {
				seen = FollowedEpoch{Known: true, GroupID: m.Group, Epoch: epoch}
			}
		}
		return true, nil
	})
	return seen, err
}

//	struct {
//	    uint8 known; // 0 or 1
//	    opaque group_id<V>;
//	    uint64 epoch;
//	} FollowedEpoch;
func (o FollowedEpoch) appendTo(w *mls.Writer) {
	w.Bool(o.Known)
	appendText(w, o.GroupID)
	w.Uint64(uint64(o.Epoch))
}

func readFollowedEpoch(r *mls.Reader) FollowedEpoch {
	return FollowedEpoch{Known: r.Bool("known"), GroupID: readText[mls.GroupID](r, "group_id"), Epoch: mls.Epoch(r.Uint64("epoch"))}
}

//	struct {
//	    StaleRoomEntry rooms<V>;
//	    uint8 whole; // 0 or 1
//	} StaleRoomList;
//
//	struct {
//	    opaque room<V>;
//	    StaleRoom stale;
//	} StaleRoomEntry;
func (o StaleRoomList) appendTo(w *mls.Writer) {
	appendList(w, o.Rooms, func(w *mls.Writer, e StaleRoomEntry) {
		e.Room.AppendTo(w)
		e.StaleRoom.appendTo(w)
	})
	w.Bool(o.Whole)
}

func readStaleRoomList(r *mls.Reader) StaleRoomList {
	return StaleRoomList{
		Rooms: readList(r, "rooms", func(r *mls.Reader) StaleRoomEntry {
			return StaleRoomEntry{Room: mimi.ReadRoomURI(r, "room"), StaleRoom: readStaleRoom(r)}
		}),
		Whole: r.Bool("whole"),
	}
}

//	struct {
//	    RoomDescribed room;
//	    StaleRoom stale;
//	} StaleRoomDescribed;
func (o StaleRoomDescribed) appendTo(w *mls.Writer) {
	o.Room.appendTo(w)
	o.Stale.appendTo(w)
}

func readStaleRoomDescribed(r *mls.Reader) StaleRoomDescribed {
	return StaleRoomDescribed{Room: mls.ReadIn(r, "room", readRoomDescribed), Stale: readStaleRoom(r)}
}
