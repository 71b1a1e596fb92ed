package judge

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Delivered is one item of what another hub delivers, read: a notify body (mimi-protocol-06 §5.5), notices, or both.
type Delivered struct {
	body, notices []byte // as they came
	messages      []mimi.FanoutMessage
	read          []mimi.Notice
}

// ReadDelivered reads an item. Anything wrong in it refuses all of it. The error is a *mls.MalformedError.
func ReadDelivered(body, notices []byte) (Delivered, error) {
	d := Delivered{body: slices.Clone(body), notices: slices.Clone(notices)}
	var err error
	if d.read, err = mimi.ParseNotices(d.notices); err != nil {
		return Delivered{}, err
	}
	if len(body) > 0 || len(notices) == 0 {
		d.messages, err = mimi.ParseFanout(d.body)
	}
	return d, err
}

// Notices are those of the item.
func (d Delivered) Notices() []mimi.Notice { return d.read }

// Bytes is about what the item takes in the log.
func (d Delivered) Bytes() int {
	const perMessage = 256 // hashes, references and names
	return len(d.body) + len(d.notices) + perMessage*(1+len(d.messages))
}

// Names reports whether a message of the item is of one of the groups.
func (d Delivered) Names(groups []mls.GroupID) bool {
	return slices.ContainsFunc(d.messages, func(m mimi.FanoutMessage) bool {
		return slices.Contains(groups, fsm.FactsOf(m, nil).Group)
	})
}

// hash names the item: a body by its octets, as in a notify request, with notices by both.
func (d Delivered) hash() [32]byte {
	if len(d.notices) == 0 {
		return sha256.Sum256(d.body)
	}
	var w mls.Writer
	w.Opaque(d.body)
	w.Opaque(d.notices)
	return sha256.Sum256(w.Bytes())
}

// ReceiveBodies takes what another hub delivers of one of its rooms, item by item in its order. It answers fsm.BodiesReceived. In a shard
// that is not raised yet it takes a single body alone, and answers fsm.Accepted.
type ReceiveBodies struct {
	asDecided
	hub      mimi.Provider
	room     mimi.RoomURI // none: the items are notices of the hub's users
	items    []Delivered
	lookedUp []mls.GroupID
}

// NewReceiveBodies makes the request; it may be repeated. lookedUp are groups that FollowGroup has found to be the room's.
func NewReceiveBodies(hub mimi.Provider, room mimi.RoomURI, items []Delivered, lookedUp []mls.GroupID) (*ReceiveBodies, error) {
	for i, d := range items {
		if room.IsZero() && len(d.messages) > 0 {
			return nil, &mls.MalformedError{Field: fmt.Sprintf("items[%d].body", i), Reason: "it is of no room"}
		}
	}
	return &ReceiveBodies{hub: hub, room: room, items: items, lookedUp: lookedUp}, nil
}

func (n *ReceiveBodies) Slot() fsm.SlotID { return fsm.SlotOfRoom(n.room) }
func (*ReceiveBodies) kind() requestKind  { return kindReceiveBodies }

// Judge refuses a provider that speaks for a room which is not its own, and anybody who speaks for a room hosted here: what
// happens there comes from the log alone. Groups that the room has not had before have to be looked up first.
func (n *ReceiveBodies) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if !n.room.IsZero() && n.room.Provider() != n.hub {
		return Refuse{fsm.NotAllowed{Reason: "only the room's own provider may notify of it"}}, nil
	}
	if slices.Contains(settings.Domains, n.hub) {
		return Refuse{fsm.NotAllowed{Reason: "the room is hosted here"}}, nil
	}
	format, err := fsm.ReadFormat(replica)
	if err != nil {
		return nil, err
	}
	if format < fsm.FormatBulk {
		return n.beforeBulk(format), nil
	}
	command := fsm.ReceiveBodies{Room: n.room, Hub: n.hub, Groups: n.lookedUp}
	for _, d := range n.items {
		command.Bodies = append(command.Bodies, d.facts(settings.Domains))
	}
	unknown, err := n.unknownGroups(replica, command)
	if err != nil || len(unknown) > 0 {
		return Answer{fsm.BodiesReceived{Stop: fsm.StopGroups, Groups: unknown}}, err
	}
	return Propose{command}, nil
}

func (n *ReceiveBodies) beforeBulk(format fsm.Format) Verdict {
	if len(n.items) != 1 || len(n.items[0].messages) == 0 || len(n.items[0].notices) > 0 {
		return Refuse{fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: format}}
	}
	body := n.items[0].facts(nil)
	command := fsm.ReceiveFanout{Room: n.room, Hub: n.hub, BodyHash: body.Hash}
	for _, m := range body.Messages {
		command.Messages = append(command.Messages, fsm.FanoutItem{Hash: m.Hash, Bytes: m.Bytes})
	}
	return Propose{command}
}

// facts are what the log gets of an item.
func (d Delivered) facts(local []mimi.Provider) fsm.HubBody {
	b := fsm.HubBody{Hash: d.hash(), Notices: d.read}
	for _, m := range d.messages {
		raw := m.Marshal()
		const timestamp = 8 // its octets come first and are not part of what makes the message itself
		b.Messages = append(b.Messages, fsm.HubMessage{Hash: sha256.Sum256(raw[timestamp:]), Bytes: raw, HubMessageFacts: fsm.FactsOf(m, local)})
	}
	return b
}

// unknownGroups lists the groups that the room has not had, and that nobody has looked up. A replica that is behind lists too many.
func (n *ReceiveBodies) unknownGroups(replica fsm.Reader, command fsm.ReceiveBodies) (unknown []mls.GroupID, err error) {
	var named []mls.GroupID
	for _, b := range command.Bodies {
		for _, m := range b.Messages {
			if m.Group != "" && !slices.Contains(named, m.Group) && !slices.Contains(n.lookedUp, m.Group) {
				named = append(named, m.Group)
			}
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	known, err := fsm.FollowedGroups(replica, n.room, n.hub, named)
	return slices.DeleteFunc(named, func(g mls.GroupID) bool { return slices.Contains(known, g) }), err
}

func (n *ReceiveBodies) appendArguments(w *mls.Writer) {
	appendURIs(w, n.hub, n.room)
	mls.AppendList(w, n.items)
	w.Vector(func(w *mls.Writer) {
		for _, g := range n.lookedUp {
			w.Opaque([]byte(g))
		}
	})
}

//	struct {
//	    opaque body<V>;
//	    opaque notices<V>;
//	} Delivered;
func (d Delivered) AppendTo(w *mls.Writer) {
	w.Opaque(d.body)
	w.Opaque(d.notices)
}

func readReceiveBodies(r *mls.Reader) (Request, error) {
	hub, room := readURI(r, "hub", mimi.ParseProvider), readOptionalURI(r, "room", mimi.ParseRoomURI)
	items := mls.ReadList(r, "items", func(r *mls.Reader) Delivered {
		body, notices := r.Opaque("body"), r.Opaque("notices")
		if r.Failed() {
			return Delivered{}
		}
		d, err := ReadDelivered(body, notices)
		if err != nil {
			r.Fail("", err.Error())
		}
		return d
	})
	lookedUp := mls.ReadList(r, "groups", func(r *mls.Reader) mls.GroupID { return mls.GroupID(r.Opaque("")) })
	if r.Failed() {
		return nil, nil
	}
	return constructed(NewReceiveBodies(hub, room, items, lookedUp))
}

// FollowGroup says that a group of another hub is to be a room's, before what names it is taken.
type FollowGroup struct {
	asDecided
	command fsm.FollowGroup
}

// NewFollowGroup makes the request; it may be repeated. It answers fsm.Done, or fsm.NotAllowed where the group is another room's.
func NewFollowGroup(hub mimi.Provider, group mls.GroupID, room mimi.RoomURI) (*FollowGroup, error) {
	return &FollowGroup{command: fsm.FollowGroup{Hub: hub, Group: group, Room: room}}, nil
}

func (g *FollowGroup) Slot() fsm.SlotID { return g.command.Slot() }
func (*FollowGroup) kind() requestKind  { return kindFollowGroup }

// Judge answers from the replica where the group is known to be the room's, which it then stays.
func (g *FollowGroup) Judge(replica fsm.Reader) (Verdict, error) {
	room, known, err := fsm.ReadFollowedGroup(replica, g.command.Hub, g.command.Group)
	if err == nil && known && room == g.command.Room {
		return Answer{fsm.Done{}}, nil
	}
	return Propose{g.command}, err
}

func (g *FollowGroup) appendArguments(w *mls.Writer) {
	appendURIs(w, g.command.Hub)
	w.Opaque([]byte(g.command.Group))
	appendURIs(w, g.command.Room)
}
