package judge

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// asDecided is embedded by requests whose outcome needs nothing added.
type asDecided struct{}

func (asDecided) Complete(_ fsm.Reader, outcome fsm.Outcome) (fsm.Outcome, error) {
	return outcome, nil
}

// RecordRoutes remembers at a room where claimed KeyPackages went.
type RecordRoutes struct {
	asDecided
	command fsm.RecordKeyPackageRefs
}

// NewRecordRoutes makes the request; it may be repeated. Every route names the user and client that the target provider named.
func NewRecordRoutes(room mimi.RoomURI, routes []fsm.KeyPackageRoute) (*RecordRoutes, error) {
	for _, route := range routes {
		if route.Ref == "" || route.Provider.IsZero() {
			return nil, &mls.MalformedError{Field: "routes", Reason: "a route has a reference and a provider"}
		}
		if route.User.Provider() != route.Provider || route.Client.Provider() != route.Provider {
			return nil, &mls.MalformedError{Field: "routes.client", Reason: "a KeyPackage's user and client belong to its provider"}
		}
	}
	return &RecordRoutes{command: fsm.RecordKeyPackageRefs{Room: room, Refs: routes}}, nil
}

func (r *RecordRoutes) Slot() fsm.SlotID                  { return r.command.Slot() }
func (r *RecordRoutes) Judge(fsm.Reader) (Verdict, error) { return Propose{r.command}, nil }
func (*RecordRoutes) kind() requestKind                   { return kindRecordRoutes }

func (r *RecordRoutes) appendArguments(w *mls.Writer) {
	appendURIs(w, r.command.Room)
	w.Vector(func(w *mls.Writer) {
		for _, route := range r.command.Refs {
			w.Opaque([]byte(route.Ref))
			appendURIs(w, route.Provider, route.User, route.Client)
			w.Uint64(route.NotAfter)
		}
	})
}

// Acknowledge says that a destination has taken outbox items.
type Acknowledge struct {
	asDecided
	command fsm.Acknowledge
}

// NewAcknowledge makes the request; sequences of unknown items are harmless. Of rooms, which are of the slot, all items up to one have
// been taken; a shard of a format before fsm.FormatBulk answers that with fsm.FormatNotReached, and nothing is recorded.
func NewAcknowledge(slot fsm.SlotID, destination mimi.Provider, sequences []uint64, rooms ...fsm.RoomTaken) (*Acknowledge, error) {
	if slot >= fsm.SlotCount {
		return nil, &mls.MalformedError{Field: "slot", Reason: fmt.Sprintf("slot %d is not below %d", slot, fsm.SlotCount)}
	}
	return &Acknowledge{command: fsm.Acknowledge{At: slot, Destination: destination, Sequences: sequences, Rooms: rooms}}, nil
}

// Destination is whose items they are.
func (a *Acknowledge) Destination() mimi.Provider { return a.command.Destination }

func (a *Acknowledge) Slot() fsm.SlotID                  { return a.command.At }
func (a *Acknowledge) Judge(fsm.Reader) (Verdict, error) { return Propose{a.command}, nil }

func (a *Acknowledge) kind() requestKind {
	if len(a.command.Rooms) > 0 {
		return kindAcknowledgeRooms // which a node of an older program does not know, nor needs to
	}
	return kindAcknowledge
}

func (a *Acknowledge) appendArguments(w *mls.Writer) {
	w.Uint16(uint16(a.command.At))
	appendURIs(w, a.command.Destination)
	w.Vector(func(w *mls.Writer) {
		for _, sequence := range a.command.Sequences {
			w.Uint64(sequence)
		}
	})
	if len(a.command.Rooms) == 0 {
		return
	}
	w.Vector(func(w *mls.Writer) {
		for _, taken := range a.command.Rooms {
			appendURIs(w, taken.Room)
			w.Uint64(taken.Through)
		}
	})
}

func readAcknowledge(r *mls.Reader, rooms bool) (Request, error) {
	slot := fsm.SlotID(r.Uint16("slot"))
	destination := readURI(r, "destination", mimi.ParseProvider)
	sequences := mls.ReadList(r, "sequences", func(r *mls.Reader) uint64 { return r.Uint64("") })
	var taken []fsm.RoomTaken
	if rooms {
		taken = mls.ReadList(r, "rooms", func(r *mls.Reader) fsm.RoomTaken {
			return fsm.RoomTaken{Room: readOptionalURI(r, "room", mimi.ParseRoomURI), Through: r.Uint64("through")}
		})
	}
	return constructed(NewAcknowledge(slot, destination, sequences, taken...))
}

// ReserveGroup says that a group is to be a room's, before the room is created.
type ReserveGroup struct {
	asDecided
	command fsm.ReserveGroup
}

// NewReserveGroup makes the request; it may be repeated. It answers fsm.Done, or fsm.NotAllowed where the group is another room's.
func NewReserveGroup(group mls.GroupID, room mimi.RoomURI) (*ReserveGroup, error) {
	return &ReserveGroup{command: fsm.ReserveGroup{Group: group, Room: room}}, nil
}

func (g *ReserveGroup) Slot() fsm.SlotID                  { return g.command.Slot() }
func (g *ReserveGroup) Judge(fsm.Reader) (Verdict, error) { return Propose{g.command}, nil }
func (*ReserveGroup) kind() requestKind                   { return kindReserveGroup }

func (g *ReserveGroup) appendArguments(w *mls.Writer) {
	w.Opaque([]byte(g.command.Group))
	appendURIs(w, g.command.Room)
}

// DescribeRoom asks what the local API tells of a room.
type DescribeRoom struct {
	asRead
	room mimi.RoomURI
}

// NewDescribeRoom makes the request. It answers fsm.RoomDescribed or fsm.NoSuchRoom.
func NewDescribeRoom(room mimi.RoomURI) (*DescribeRoom, error) { return &DescribeRoom{room: room}, nil }

func (d *DescribeRoom) Slot() fsm.SlotID              { return fsm.SlotOfRoom(d.room) }
func (*DescribeRoom) kind() requestKind               { return kindDescribeRoom }
func (d *DescribeRoom) appendArguments(w *mls.Writer) { appendURIs(w, d.room) }

// Judge refuses rather than answers, since an epoch read from a replica that is behind would be a wrong one.
func (d *DescribeRoom) Judge(replica fsm.Reader) (Verdict, error) {
	room, found, err := fsm.ReadRoom(replica, d.room)
	if err != nil {
		return nil, err
	}
	if !found {
		return concluded(nil, endedRoom(replica, d.room))
	}
	pending, err := fsm.ReadAllPending(replica, d.room)
	if err != nil {
		return nil, err
	}
	context, err := mls.ParseGroupContext(room.GroupContext)
	if err != nil {
		return nil, fmt.Errorf("stored GroupContext: %v", err)
	}
	described := fsm.RoomDescribed{
		Room: d.room, GroupID: room.GroupID, Suite: room.Suite, Epoch: room.Epoch, TreeHash: context.TreeHash,
		Participants: room.Participants, Destinations: room.Destinations, Pending: uint32(len(pending)),
	}
	stale, is, err := fsm.ReadStaleRoom(replica, d.room)
	if err != nil {
		return nil, err
	}
	if is {
		return Refuse{fsm.StaleRoomDescribed{Room: described, Stale: stale}}, nil
	}
	if room.Status == fsm.RoomReinitialised {
		_, announced, err := endOf(replica, d.room)
		return Refuse{fsm.RoomAwaits{Room: described, GroupID: announced.GroupID, Suite: announced.Suite}}, err
	}
	return Refuse{described}, nil
}

// Notify takes a hub's fanout of one of its rooms (mimi-protocol-06 §5.5).
type Notify struct {
	asDecided
	command fsm.ReceiveFanout
	body    []byte
}

// NewNotify reads a notify body whole: anything wrong in it refuses all of it, and changes nothing.
func NewNotify(hub mimi.Provider, room mimi.RoomURI, body []byte) (*Notify, error) {
	body = slices.Clone(body)
	messages, err := mimi.ParseFanout(body)
	if err != nil {
		return nil, err
	}
	command := fsm.ReceiveFanout{Room: room, Hub: hub, BodyHash: sha256.Sum256(body)}
	for _, m := range messages {
		raw := m.Marshal()
		const timestamp = 8 // its octets come first and are not part of what makes the message itself
		command.Messages = append(command.Messages, fsm.FanoutItem{Hash: sha256.Sum256(raw[timestamp:]), Bytes: raw})
	}
	return &Notify{command: command, body: body}, nil
}

func (n *Notify) Slot() fsm.SlotID { return n.command.Slot() }
func (*Notify) kind() requestKind  { return kindNotify }

// Judge refuses a provider that speaks for a room which is not its own, and anybody who speaks for a room hosted here: what
// happens there comes from the log alone.
func (n *Notify) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	switch provider := n.command.Room.Provider(); {
	case provider != n.command.Hub:
		return Refuse{fsm.NotAllowed{Reason: "only the room's own provider may notify of it"}}, nil
	case slices.Contains(settings.Domains, provider):
		return Refuse{fsm.NotAllowed{Reason: "the room is hosted here"}}, nil
	}
	return Propose{n.command}, nil
}

func (n *Notify) appendArguments(w *mls.Writer) {
	appendURIs(w, n.command.Hub, n.command.Room)
	w.Opaque(n.body)
}
