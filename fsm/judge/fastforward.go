package judge

import (
	"crypto/sha256"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// FastForward brings a stale room to where its group is, by what a member has signed: it is checked as a creation is. Whose client a leaf is, of which
// the room has no record, the local provider says.
type FastForward struct {
	asDecided
	founding *CreateRoom // with the room's group as it is to be
	seen     []fsm.EpochSeen
	clients  []fsm.ClientOfUser
}

// NewFastForward reads a GroupInfo, bare or as an MLSMessage, and the tree beside it, as NewCreateRoom does. seen is what the other providers
// answered that follow the room. It answers fsm.Accepted, fsm.NotAllowed, fsm.NoSuchRoom or fsm.RoomEnded, and may be repeated.
func NewFastForward(room mimi.RoomURI, groupInfo, ratchetTree []byte, seen []fsm.EpochSeen, clients []fsm.ClientOfUser) (*FastForward, error) {
	founding, err := NewCreateRoom(room, mimi.UserURI{}, groupInfo, ratchetTree)
	if err != nil {
		return nil, err
	}
	for _, s := range seen {
		if s.Provider.IsZero() || s.Answer < fsm.SeenEpoch || s.Answer > fsm.SeenWaived {
			return nil, &mls.MalformedError{Field: "seen", Reason: "an answer has a provider and is of a known kind"}
		}
	}
	for _, c := range clients {
		if c.Client.Provider() != c.User.Provider() {
			return nil, &mls.MalformedError{Field: "clients", Reason: "a client is of its user's provider"}
		}
	}
	return &FastForward{founding: founding, seen: seen, clients: clients}, nil
}

// GroupID is the group's.
func (f *FastForward) GroupID() mls.GroupID { return f.founding.group.GroupID() }

// Providers are those of the participants that the room is to have, each once.
func (f *FastForward) Providers() ([]mimi.Provider, error) {
	participants, err := participantsOf(f.founding.group.Context())
	if err != nil {
		return nil, err
	}
	var all []mimi.Provider
	for _, p := range participants {
		all = append(all, p.User.Provider())
	}
	return union(all, nil), nil
}

func (f *FastForward) Slot() fsm.SlotID { return fsm.SlotOfRoom(f.founding.room) }
func (*FastForward) kind() requestKind  { return kindFastForward }
func (f *FastForward) hash() (h [32]byte) {
	var w mls.Writer
	f.founding.appendRequest(&w)
	return sha256.Sum256(w.Bytes())
}

func (f *FastForward) appendArguments(w *mls.Writer) {
	appendURIs(w, f.founding.room)
	w.Opaque(f.founding.groupInfo)
	w.Opaque(f.founding.tree)
	w.Vector(func(w *mls.Writer) {
		for _, s := range f.seen {
			appendURIs(w, s.Provider)
			w.Uint8(uint8(s.Answer))
			w.Uint64(uint64(s.Epoch))
		}
	})
	w.Vector(func(w *mls.Writer) {
		for _, c := range f.clients {
			appendURIs(w, c.Client, c.User)
		}
	})
}

func readFastForward(r *mls.Reader) (Request, error) {
	room := readURI(r, "room", mimi.ParseRoomURI)
	groupInfo, tree := r.Opaque("groupInfo"), r.Opaque("ratchetTree")
	seen := mls.ReadList(r, "seen", func(r *mls.Reader) fsm.EpochSeen {
		return fsm.EpochSeen{
			Provider: readURI(r, "provider", mimi.ParseProvider), Answer: fsm.SeenAnswer(r.Uint8("answer")), Epoch: mls.Epoch(r.Uint64("epoch")),
		}
	})
	clients := mls.ReadList(r, "clients", func(r *mls.Reader) fsm.ClientOfUser {
		return fsm.ClientOfUser{Client: readURI(r, "client", mimi.ParseClientURI), User: readURI(r, "user", mimi.ParseUserURI)}
	})
	return constructed(NewFastForward(room, groupInfo, tree, seen, clients))
}

// Judge checks what a room needs beside a valid group. Whether it is stale, and the epoch late enough, the log says.
func (f *FastForward) Judge(replica fsm.Reader) (Verdict, error) { return concluded(f.judge(replica)) }

func (f *FastForward) judge(replica fsm.Reader) (Verdict, error) {
	if again, found, err := fsm.ReadForwarded(replica, f.founding.room, f.hash()); err != nil || found {
		return Answer{again}, err
	}
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	room, found, err := fsm.ReadRoom(replica, f.founding.room)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, endedRoom(replica, f.founding.room)
	}
	stale, is, err := fsm.ReadStaleRoom(replica, f.founding.room)
	if err != nil {
		return nil, err
	}
	if !is {
		return Refuse{fsm.NotAllowed{Reason: "the room is not stale: its group goes on here"}}, nil
	}
	group, info := f.founding.group, f.founding.info
	participants, err := participantsOf(group.Context())
	if err != nil {
		return nil, err
	}
	if err := checkHubListed(group.Context().Extensions, settings); err != nil {
		return nil, err
	}
	clients, err := f.unknownClients(replica, participants)
	if err != nil {
		return nil, err
	}
	rules, err := f.founding.checkPolicy(replica, clients)
	if err != nil {
		return nil, err
	}
	return Propose{fsm.FastForwardRoom{
		Room: room.URI, Generation: stale.Generation, Incarnation: room.Incarnation, GroupID: group.GroupID(), Suite: group.Context().Suite,
		Facts:   factsOf(group, info, wholeTree(group.Tree()), participants, settings),
		Clients: clients, Rules: rules, Seen: f.seen, RequestHash: f.hash(),
	}}, nil
}

// unknownClients are those of the group's leaves of which the room has no record, each a participant's by the request's word.
func (f *FastForward) unknownClients(replica fsm.Reader, participants []fsm.Participant) (mapped []fsm.ClientOfUser, err error) {
	for _, leaf := range f.founding.group.Members() {
		user, known, err := userOf(replica, f.founding.room, leaf.Credential)
		if err != nil {
			return nil, err
		}
		client := clientOf(leaf.Credential)
		if i := slices.IndexFunc(f.clients, func(c fsm.ClientOfUser) bool { return c.Client == client }); !known && !client.IsZero() && i >= 0 {
			user, known = f.clients[i].User, true
			mapped = append(mapped, f.clients[i])
		}
		if !known || !slices.ContainsFunc(participants, func(p fsm.Participant) bool { return p.User == user }) {
			return nil, deny("the member %q belongs to no participant as far as the room knows: say with the request whose client it is", nameOf(leaf.Credential))
		}
	}
	return mapped, nil
}

// FollowedEpoch asks in which epoch a room of another hub was seen here.
type FollowedEpoch struct {
	asRead
	hub  mimi.Provider
	room mimi.RoomURI
}

// NewFollowedEpoch makes the request of the room's hub. It answers fsm.FollowedEpoch, or fsm.NotAllowed to who is not that.
func NewFollowedEpoch(hub mimi.Provider, room mimi.RoomURI) (*FollowedEpoch, error) {
	return &FollowedEpoch{hub: hub, room: room}, nil
}

func (f *FollowedEpoch) Slot() fsm.SlotID              { return fsm.SlotOfRoom(f.room) }
func (*FollowedEpoch) kind() requestKind               { return kindFollowedEpoch }
func (f *FollowedEpoch) appendArguments(w *mls.Writer) { appendURIs(w, f.hub, f.room) }

// Judge refuses rather than answers: an epoch from a replica that is behind would let the hub believe that it was never left.
func (f *FollowedEpoch) Judge(replica fsm.Reader) (Verdict, error) {
	if f.room.Provider() != f.hub {
		return Refuse{fsm.NotAllowed{Reason: "only the room's own provider may ask for it"}}, nil
	}
	seen, err := fsm.ReadFollowedEpoch(replica, f.room, f.hub)
	return Refuse{seen}, err
}

// staleRoomsMax bounds the rooms of one answer.
const staleRoomsMax = 500

// StaleRooms lists stale rooms of one slot.
type StaleRooms struct {
	asRead
	slot   fsm.SlotID
	behind mimi.RoomURI
}

// NewStaleRooms makes the request for those behind a room, or from the first on. It answers fsm.StaleRoomList, as some replica knows it.
func NewStaleRooms(slot fsm.SlotID, behind mimi.RoomURI) (*StaleRooms, error) {
	if slot >= fsm.SlotCount || !behind.IsZero() && fsm.SlotOfRoom(behind) != slot {
		return nil, &mls.MalformedError{Field: "after", Reason: "it is no place in the list of stale rooms"}
	}
	return &StaleRooms{slot: slot, behind: behind}, nil
}

func (s *StaleRooms) Slot() fsm.SlotID { return s.slot }
func (*StaleRooms) kind() requestKind  { return kindStaleRooms }

func (s *StaleRooms) appendArguments(w *mls.Writer) {
	w.Uint16(uint16(s.slot))
	w.Opaque([]byte(s.behind.String()))
}

func readStaleRooms(r *mls.Reader) (Request, error) {
	slot, behind := fsm.SlotID(r.Uint16("slot")), string(r.Opaque("behind"))
	var room mimi.RoomURI
	if behind != "" && !r.Failed() {
		var err error
		if room, err = mimi.ParseRoomURI(behind); err != nil {
			return nil, err
		}
	}
	return constructed(NewStaleRooms(slot, room))
}

// Judge answers from whatever replica there is: the list is for who works through it, and is behind in any case.
func (s *StaleRooms) Judge(replica fsm.Reader) (Verdict, error) {
	var list fsm.StaleRoomList
	whole, err := fsm.StaleRooms(replica, s.slot, s.behind, func(room mimi.RoomURI, stale fsm.StaleRoom) (bool, error) {
		list.Rooms = append(list.Rooms, fsm.StaleRoomEntry{Room: room, StaleRoom: stale})
		return len(list.Rooms) < staleRoomsMax, nil
	})
	list.Whole = whole && len(list.Rooms) < staleRoomsMax
	return Answer{list}, err
}
