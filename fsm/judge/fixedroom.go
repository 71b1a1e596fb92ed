package judge

import (
	"fmt"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// FixedMembers returns the participants of a room that is to be of fixed membership, for which they have to be reserved first
// (room-policy-03 §5: there is one such room for a set of participants); false for any other room, and for one whose policy cannot be read,
// which will be refused for that.
func (c *CreateRoom) FixedMembers() (set fsm.MemberSet, fixed bool) {
	p, err := policy.Read(c.group.Context())
	if err != nil || !p.Fixed() {
		return set, false
	}
	return fsm.MemberSetOf(p.Users()), true
}

// Creator is who creates the room.
func (c *CreateRoom) Creator() mimi.UserURI { return c.creator }

// Room is the one to be created.
func (c *CreateRoom) Room() mimi.RoomURI { return c.room }

// WithMembers is the request with the number under which the participants are reserved.
func (c *CreateRoom) WithMembers(number uint64) *CreateRoom {
	if c == nil {
		return nil
	}
	with := *c
	with.members = number
	return &with
}

func readCreateFixedRoom(r *mls.Reader) (Request, error) {
	c, err := readCreateRoom(r)
	number := r.Uint64("members")
	if number == 0 && !r.Failed() {
		r.Fail("members", "it is no number of a reservation")
	}
	return constructed(c.WithMembers(number), err)
}

// reserved is the number to create the room with: one for a room of fixed membership, and none for any other or in a shard of an older
// format, which does not know of them.
func (c *CreateRoom) reserved(replica fsm.Reader) (uint64, error) {
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatBulk {
		return 0, err
	}
	switch _, fixed := c.FixedMembers(); {
	case !fixed:
		return 0, nil
	case c.members == 0:
		return 0, deny("the participants of a room of fixed membership have to be reserved first; ask again")
	default:
		return c.members, nil
	}
}

// checkStaysFixed refuses to make a room one of fixed membership: it has its participants from its creation on (room-policy-03 §5), and
// what was not reserved for it then might be another's.
func checkStaysFixed(state *roomState, after *policy.Policy) error {
	if state.format >= fsm.FormatBulk && after.Fixed() && !state.policy.Fixed() {
		return deny("a room is of fixed membership from its creation on, and cannot become it")
	}
	return nil
}

// ReserveMembers says that a set of participants is to be a room's.
type ReserveMembers struct {
	asDecided
	command fsm.ReserveMembers
}

// NewReserveMembers makes the request; it may be repeated. Instead is the number under which the set was reserved for another room that
// has had to forgo it, or 0. It answers fsm.MembersReserved, for this room or another.
func NewReserveMembers(set fsm.MemberSet, room mimi.RoomURI, instead uint64) (*ReserveMembers, error) {
	return &ReserveMembers{command: fsm.ReserveMembers{Set: set, Room: room, Instead: instead}}, nil
}

func (m *ReserveMembers) Slot() fsm.SlotID                  { return m.command.Slot() }
func (m *ReserveMembers) Judge(fsm.Reader) (Verdict, error) { return Propose{m.command}, nil }
func (*ReserveMembers) kind() requestKind                   { return kindReserveMembers }

func (m *ReserveMembers) appendArguments(w *mls.Writer) {
	w.Fixed(m.command.Set[:])
	appendURIs(w, m.command.Room)
	w.Uint64(m.command.Instead)
}

func readReserveMembers(r *mls.Reader) (Request, error) {
	set := readMemberSet(r)
	return constructed(NewReserveMembers(set, readURI(r, "room", mimi.ParseRoomURI), r.Uint64("instead")))
}

func readMemberSet(r *mls.Reader) (set fsm.MemberSet) {
	copy(set[:], r.Fixed("set", len(set)))
	return set
}

// ForgoMembers asks a room for which a set of participants is reserved whether it has it, and makes it forgo the set if not.
type ForgoMembers struct {
	asDecided
	room   mimi.RoomURI
	set    fsm.MemberSet
	number uint64
	asker  mimi.UserURI
}

// NewForgoMembers makes the request for a user who wants the set for another room; it may be repeated. It answers fsm.Done, or
// fsm.MembersHeld, with the room where the user takes part in it.
func NewForgoMembers(room mimi.RoomURI, set fsm.MemberSet, number uint64, asker mimi.UserURI) (*ForgoMembers, error) {
	return &ForgoMembers{room: room, set: set, number: number, asker: asker}, nil
}

func (f *ForgoMembers) Slot() fsm.SlotID { return fsm.SlotOfRoom(f.room) }
func (*ForgoMembers) kind() requestKind  { return kindForgoMembers }

// Judge looks whether the room is there, has been created with the set, and is of fixed membership still.
func (f *ForgoMembers) Judge(replica fsm.Reader) (Verdict, error) {
	command := fsm.ForgoMembers{Room: f.room, Set: f.set, Number: f.number}
	room, found, err := fsm.ReadRoom(replica, f.room)
	if err != nil {
		return nil, err
	}
	if !found {
		return Propose{command}, nil
	}
	command.GroupContextHash = room.GroupContextHash
	held, holds, err := fsm.ReadHeldMembers(replica, f.room)
	if err != nil {
		return nil, err
	}
	context, err := mls.ParseGroupContext(room.GroupContext)
	if err != nil {
		return nil, fmt.Errorf("stored GroupContext: %v", err)
	}
	p, err := policy.Read(context)
	if err != nil {
		return nil, fmt.Errorf("stored GroupContext: %v", err)
	}
	if !holds || held != f.set || !p.Fixed() {
		return Propose{command}, nil
	}
	answer := fsm.MembersHeld{}
	if p.Participates(f.asker) && !p.Banned(f.asker) {
		answer.Room = f.room
	}
	return Refuse{answer}, nil
}

func (f *ForgoMembers) appendArguments(w *mls.Writer) {
	appendURIs(w, f.room)
	w.Fixed(f.set[:])
	w.Uint64(f.number)
	appendURIs(w, f.asker)
}

func readForgoMembers(r *mls.Reader) (Request, error) {
	room := readURI(r, "room", mimi.ParseRoomURI)
	set := readMemberSet(r)
	return constructed(NewForgoMembers(room, set, r.Uint64("number"), readURI(r, "asker", mimi.ParseUserURI)))
}
