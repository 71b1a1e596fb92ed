package judge

import (
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// Parent returns the room on which one that is to be created depends, and who is to be in it (room-policy-03 §5); false for one that
// depends on none, and for one whose policy cannot be read, which will be refused for that.
func (c *CreateRoom) Parent() (parent mimi.RoomURI, users []mimi.UserURI, depends bool) {
	p, err := policy.Read(c.group.Context())
	if err != nil {
		return parent, nil, false
	}
	parent, depends = p.Parent()
	return parent, p.Users(), depends
}

// dependsOn is the parent to create the room with; none in a shard of an older format, which does not know of them. Of a parent at
// another hub nobody here would hear who leaves it.
func (c *CreateRoom) dependsOn(replica fsm.Reader, settings fsm.Settings) (none mimi.RoomURI, err error) {
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatBulk {
		return none, err
	}
	parent, _, depends := c.Parent()
	switch {
	case !depends:
		return none, nil
	case !slices.Contains(settings.Domains, parent.Provider()):
		return none, deny("the parent room %s is of another provider: a room that depends on it has to be created at its hub", parent)
	case parent == c.room:
		return none, deny("a room cannot depend on itself")
	default:
		return parent, nil
	}
}

// checkKeepsParent refuses to change on which room another depends, or that it does: who is in the new one nobody has told.
func checkKeepsParent(state *roomState, after *policy.Policy) error {
	before, depended := state.policy.Parent()
	parent, depends := after.Parent()
	if state.format >= fsm.FormatBulk && (depended != depends || before != parent) {
		return deny("a room depends on the same parent from its creation on, or on none: parent_dependant and parent_room cannot change")
	}
	return nil
}

// checkInParent refuses a list in which somebody stands anew who is not in the room on which this one depends. Of a group that follows a
// ReInit there is nothing to check: it has the list of the group before.
func checkInParent(replica fsm.Reader, room mimi.RoomURI, before, after []fsm.Participant) error {
	dependence, depends, err := fsm.ReadDependence(replica, room)
	if err != nil || !depends {
		return err
	}
	for _, p := range after {
		if slices.ContainsFunc(before, func(b fsm.Participant) bool { return b.User == p.User }) {
			continue
		}
		in, err := fsm.ReadInParent(replica, room, p.User)
		switch {
		case err != nil:
			return err
		case !dependence.Known:
			return deny("the participants of the parent room %s are not known here yet; ask again", dependence.Parent)
		case !in:
			return deny("%s is not a participant of the parent room %s, and has to be added there first", p.User, dependence.Parent)
		}
	}
	return nil
}

// ConsiderParent asks a room whether another may depend on it. What it answers may have changed by the time when that is created: who is
// not in the parent then has to leave again.
type ConsiderParent struct {
	asDecided
	parent mimi.RoomURI
	users  []mimi.UserURI
}

// NewConsiderParent makes the request for a room of so many participants. It answers fsm.Done, or fsm.NotAllowed with the reason.
func NewConsiderParent(parent mimi.RoomURI, users []mimi.UserURI) (*ConsiderParent, error) {
	return &ConsiderParent{parent: parent, users: slices.Clone(users)}, nil
}

func (p *ConsiderParent) Slot() fsm.SlotID { return fsm.SlotOfRoom(p.parent) }
func (*ConsiderParent) kind() requestKind  { return kindConsiderParent }

// Judge looks whether the room is there, has room for another dependant, and has the users in its list.
func (p *ConsiderParent) Judge(replica fsm.Reader) (Verdict, error) {
	return concluded(p.judge(replica))
}

func (p *ConsiderParent) judge(replica fsm.Reader) (Verdict, error) {
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatBulk {
		return Answer{fsm.Done{}}, err // nothing depends on anything there
	}
	room, found, err := fsm.ReadRoom(replica, p.parent)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, deny("there is no parent room %s", p.parent)
	}
	dependants, err := fsm.ReadDependants(replica, p.parent)
	if err != nil {
		return nil, err
	}
	if len(dependants) >= fsm.DependantsMax {
		return nil, deny("%d rooms depend on the parent room already, and more cannot", len(dependants))
	}
	for _, user := range p.users {
		if !slices.ContainsFunc(room.Participants, func(in fsm.Participant) bool { return in.User == user }) {
			return nil, deny("%s is not a participant of the parent room %s, and has to be added there first", user, p.parent)
		}
	}
	return Answer{fsm.Done{}}, nil
}

func (p *ConsiderParent) appendArguments(w *mls.Writer) {
	appendURIs(w, p.parent)
	w.Vector(func(w *mls.Writer) {
		for _, user := range p.users {
			appendURIs(w, user)
		}
	})
}

func readConsiderParent(r *mls.Reader) (Request, error) {
	parent := readURI(r, "parent", mimi.ParseRoomURI)
	users := mls.ReadList(r, "users", func(r *mls.Reader) mimi.UserURI { return readURI(r, "user", mimi.ParseUserURI) })
	return constructed(NewConsiderParent(parent, users))
}
