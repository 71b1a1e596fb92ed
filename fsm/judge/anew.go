package judge

import (
	"parley/fsm"
	"parley/mls"
)

// For is the request made for a generation of the cluster: its maker knows that what was created before may be lost. It is needed after the first; of a
// stale room it says that another group is to take the place of the one whose state is lost.
func (c *CreateRoom) For(generation fsm.Generation) *CreateRoom {
	if c == nil || generation <= fsm.FirstGeneration {
		return c
	}
	made := *c
	made.generation = generation
	return &made
}

func readCreateRoomAnew(r *mls.Reader) (Request, error) {
	c, err := readCreateRoom(r)
	members, generation := r.Uint64("members"), fsm.Generation(r.Uint64("generation"))
	if generation <= fsm.FirstGeneration && !r.Failed() {
		r.Fail("generation", "it is none after the first")
	}
	return constructed(c.WithMembers(members).For(generation), err)
}

// abandoned is the group that a creation takes the place of in a stale room; nil where it is for none.
func (c *CreateRoom) abandoned(room fsm.Room) (*fsm.RoomEnd, error) {
	switch {
	case room.Status != fsm.RoomStale:
		return nil, nil
	case c.generation == 0:
		return nil, nil // the log says that the room exists
	case c.group.GroupID() == room.GroupID:
		return nil, deny("the room's group is this one: bring it forward instead")
	}
	return &fsm.RoomEnd{GroupID: room.GroupID}, nil
}
