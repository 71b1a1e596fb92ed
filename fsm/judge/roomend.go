package judge

import (
	"bytes"
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// farewellsMax bounds the members whose Removes say that their room is destroyed. Those of a larger group learn it from the answers that
// they get: a Remove for each of its leaves would be a body that no peer wants.
const farewellsMax = 1000

// DestroyRoom ends a room of this hub for good.
type DestroyRoom struct {
	asDecided
	room mimi.RoomURI
}

// NewDestroyRoom makes the request; it may be repeated. It answers fsm.Accepted or fsm.NoSuchRoom.
func NewDestroyRoom(room mimi.RoomURI) (*DestroyRoom, error) { return &DestroyRoom{room: room}, nil }

func (d *DestroyRoom) Slot() fsm.SlotID              { return fsm.SlotOfRoom(d.room) }
func (*DestroyRoom) kind() requestKind               { return kindDestroyRoom }
func (d *DestroyRoom) appendArguments(w *mls.Writer) { appendURIs(w, d.room) }

// Judge makes the Removes by which members hear of it whose providers know no other way (docs/deviations.md, Extensions).
func (d *DestroyRoom) Judge(replica fsm.Reader) (Verdict, error) {
	room, found, err := fsm.ReadRoom(replica, d.room)
	if err != nil {
		return nil, err
	}
	if !found {
		end, ended, err := fsm.ReadRoomEnd(replica, d.room)
		switch {
		case err != nil:
			return nil, err
		case ended:
			return Answer{fsm.Accepted{Millis: end.Millis, Epoch: end.Epoch}}, nil
		default:
			return Refuse{fsm.NoSuchRoom{}}, nil
		}
	}
	command := fsm.DestroyRoom{Room: d.room, Incarnation: room.Incarnation, GroupContextHash: room.GroupContextHash}
	if room.Status == fsm.RoomOpen {
		if command.Farewell, err = farewell(replica, room); err != nil {
			return nil, err
		}
	}
	return Propose{command}, nil
}

func farewell(replica fsm.Reader, room fsm.Room) ([]fsm.PendingProposal, error) {
	group, err := readGroup(replica, room)
	if err != nil {
		return nil, err
	}
	voice, can, err := voiceIn(replica, group)
	if err != nil || !can || group.Tree().MemberCount() > farewellsMax {
		return nil, err
	}
	var all []fsm.PendingProposal
	for leaf := range group.Members() {
		p, err := voice.propose(mls.Remove{Removed: leaf})
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// endedRoom is the refusal of a room that is there no more, that has no group, or of which nobody knows where that is.
func endedRoom(replica fsm.Reader, uri mimi.RoomURI) error {
	if stale, is, err := fsm.ReadStaleRoom(replica, uri); err != nil {
		return err
	} else if is {
		return &denied{stale}
	}
	end, ended, err := fsm.ReadRoomEnd(replica, uri)
	switch {
	case err != nil:
		return err
	case !ended:
		return &denied{fsm.NoSuchRoom{}}
	default:
		return &denied{fsm.RoomEnded{Status: end.Status, Millis: end.Millis}}
	}
}

// checkReInit refuses a ReInit after which the room could not go on as it was agreed (RFC 9420 §11.2). It changes the group's parameters;
// who takes part, with which role and what roles there are, stays as it is: that has its own Proposals, which the policy judges.
func checkReInit(replica fsm.Reader, state *roomState, p mls.ReInit) error {
	format, err := fsm.ReadFormat(replica)
	if err != nil {
		return err
	}
	if format < fsm.FormatExclusive {
		return deny("a ReInit is not taken: a room keeps its group")
	}
	if _, err := p.Suite.Suite(); err != nil || p.Version != mls.MLS10 {
		return deny("the ReInit asks for a version or cipher suite that this hub does not know")
	}
	if p.GroupID == "" || p.GroupID == state.GroupID {
		return deny("the ReInit names no other group_id than the group's")
	}
	if err := checkHubListed(p.Extensions, state.settings); err != nil {
		return err
	}
	return sameRules(state.group.Context().Extensions, p.Extensions)
}

// sameRules refuses other extensions whose dictionary differs in a component that says who may do what.
func sameRules(before, after mls.Extensions) error {
	was, err := before.Dictionary()
	if err != nil {
		return objection(err)
	}
	is, err := after.Dictionary()
	if err != nil {
		return objection(err)
	}
	for _, id := range []mls.ComponentID{
		mimi.ComponentParticipantList, mimi.ComponentRoles, mimi.ComponentPreauthorization, mimi.ComponentBaseRoomPolicy, mimi.ComponentMLSOperationalPolicy,
	} {
		a, had := was.Get(id)
		b, has := is.Get(id)
		if had != has || !bytes.Equal(a, b) {
			return deny("the ReInit changes component 0x%04x, which says who may do what in the room", uint16(id))
		}
	}
	return nil
}

// successorOf finds the room that a creation would continue: one whose group a ReInit has ended. It refuses a group that is not the one
// that the ReInit announced (RFC 9420 §11.2), and any for a room that goes on or is destroyed; nil where there is no such room.
func (c *CreateRoom) successorOf(replica fsm.Reader) (*fsm.RoomEnd, error) {
	room, found, err := fsm.ReadRoom(replica, c.room)
	if err != nil || !found {
		return nil, err
	}
	if room.Status != fsm.RoomReinitialised {
		return c.abandoned(room)
	}
	end, announced, err := endOf(replica, c.room)
	if err != nil {
		return nil, err
	}
	context := c.group.Context()
	switch {
	case context.GroupID != announced.GroupID:
		return nil, deny("the group_id is not the one that the ReInit announced")
	case context.Suite != announced.Suite:
		return nil, deny("the cipher suite is not the one that the ReInit announced")
	case !bytes.Equal(extensionsOf(context), extensionsOf(mls.GroupContext{Extensions: announced.Extensions})):
		return nil, deny("the extensions are not those that the ReInit announced")
	case context.Epoch > 1:
		return nil, deny("the group that follows a ReInit is taken up in its epoch 0 or 1")
	}
	return &end, nil
}

// endOf is how the group of a room has ended, with the ReInit that ended it.
func endOf(replica fsm.Reader, room mimi.RoomURI) (fsm.RoomEnd, mls.ReInit, error) {
	end, _, err := fsm.ReadRoomEnd(replica, room)
	if err != nil {
		return end, mls.ReInit{}, err
	}
	p, err := mls.Parse("ReInit", end.ReInit, mls.ReadProposal)
	announced, ok := p.(mls.ReInit)
	if err != nil || !ok {
		return end, announced, fmt.Errorf("the stored ReInit of %s: %T, %v", room, p, err)
	}
	return end, announced, nil
}

func extensionsOf(context mls.GroupContext) []byte {
	var w mls.Writer
	context.Extensions.AppendTo(&w)
	return w.Bytes()
}
