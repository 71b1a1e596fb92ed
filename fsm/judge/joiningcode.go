package judge

import (
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// The numbers of the requests on joining codes.
const (
	kindCreateJoiningCode requestKind = iota + 25
	kindRevokeJoiningCode
	kindListJoiningCodes
)

// CodeTerms are what a joining code gives, and for how long.
type CodeTerms struct {
	Role           uint32
	Uses           uint32 // how many users may join by it; 0: any number
	LifetimeMillis uint64 // 0: as long as the room
	Lock           fsm.PassphraseLock
}

// CreateJoiningCode opens a joining code of a room that is hosted here. The code itself stays with who made it.
type CreateJoiningCode struct {
	asDecided
	room    mimi.RoomURI
	creator mimi.UserURI
	id      fsm.CodeID
	terms   CodeTerms
}

// NewCreateJoiningCode makes the request; a repetition is the same code. It answers fsm.JoiningCodeMade, fsm.NotAllowed,
// fsm.NoSuchRoom or fsm.RoomEnded.
func NewCreateJoiningCode(room mimi.RoomURI, creator mimi.UserURI, id fsm.CodeID, terms CodeTerms) (*CreateJoiningCode, error) {
	if id.IsZero() {
		return nil, &mls.MalformedError{Field: "id", Reason: "it names no code"}
	}
	return &CreateJoiningCode{room: room, creator: creator, id: id, terms: terms}, nil
}

func (c *CreateJoiningCode) Slot() fsm.SlotID { return fsm.SlotOfRoom(c.room) }
func (*CreateJoiningCode) kind() requestKind  { return kindCreateJoiningCode }

func (c *CreateJoiningCode) appendArguments(w *mls.Writer) {
	appendURIs(w, c.room, c.creator)
	w.Fixed(c.id[:])
	w.Uint32(c.terms.Role)
	w.Uint32(c.terms.Uses)
	w.Uint64(c.terms.LifetimeMillis)
	w.Opaque(c.terms.Lock.Salt)
	w.Uint32(c.terms.Lock.Rounds)
	w.Opaque(c.terms.Lock.Key)
}

func readCreateJoiningCode(r *mls.Reader) (Request, error) {
	room, creator, id := readURI(r, "room", mimi.ParseRoomURI), readURI(r, "creator", mimi.ParseUserURI), readCodeID(r)
	return constructed(NewCreateJoiningCode(room, creator, id, CodeTerms{
		Role: r.Uint32("role"), Uses: r.Uint32("uses"), LifetimeMillis: r.Uint64("lifetimeMillis"),
		Lock: fsm.PassphraseLock{Salt: r.Opaque("salt"), Rounds: r.Uint32("rounds"), Key: r.Opaque("key")},
	}))
}

func readCodeID(r *mls.Reader) (id fsm.CodeID) {
	copy(id[:], r.Fixed("id", len(id)))
	return id
}

// Judge refuses a maker who is no user of this provider, or whom the room's policy does not let make the code.
func (c *CreateJoiningCode) Judge(replica fsm.Reader) (Verdict, error) {
	return concluded(c.judge(replica))
}

func (c *CreateJoiningCode) judge(replica fsm.Reader) (Verdict, error) {
	state, err := readCodeRoom(replica, c.room, c.creator)
	if err != nil {
		return nil, err
	}
	if err := state.policy.CheckCreateCode(c.creator, c.terms.Role); err != nil {
		return nil, ruled(err)
	}
	return Propose{fsm.CreateJoiningCode{
		Room: c.room, ID: c.id, Creator: c.creator, Role: c.terms.Role, Uses: c.terms.Uses, LifetimeMillis: c.terms.LifetimeMillis,
		Lock: c.terms.Lock, GroupContextHash: state.GroupContextHash,
	}}, nil
}

// readCodeRoom is a room for a user of this provider who wants to do something about its codes.
func readCodeRoom(replica fsm.Reader, room mimi.RoomURI, user mimi.UserURI) (*roomState, error) {
	state, err := readState(replica, room)
	if err != nil {
		return nil, err
	}
	format, err := fsm.ReadFormat(replica)
	switch {
	case err != nil:
		return nil, err
	case format < fsm.FormatExclusive:
		return nil, deny("joining codes are there once all nodes run a program that knows them")
	case !slices.Contains(state.settings.Domains, user.Provider()):
		return nil, deny("%s is not a user of this provider", user)
	}
	return state, nil
}

// RevokeJoiningCode ends a joining code, and the right of everybody who was to join by it.
type RevokeJoiningCode struct {
	asDecided
	room mimi.RoomURI
	by   mimi.UserURI
	id   fsm.CodeID
}

// NewRevokeJoiningCode makes the request; it may be repeated. It answers fsm.Done, also for a code that is not there any more,
// fsm.NotAllowed, fsm.NoSuchRoom or fsm.RoomEnded.
func NewRevokeJoiningCode(room mimi.RoomURI, by mimi.UserURI, id fsm.CodeID) (*RevokeJoiningCode, error) {
	return &RevokeJoiningCode{room: room, by: by, id: id}, nil
}

func (c *RevokeJoiningCode) Slot() fsm.SlotID { return fsm.SlotOfRoom(c.room) }
func (*RevokeJoiningCode) kind() requestKind  { return kindRevokeJoiningCode }

func (c *RevokeJoiningCode) appendArguments(w *mls.Writer) {
	appendURIs(w, c.room, c.by)
	w.Fixed(c.id[:])
}

func readRevokeJoiningCode(r *mls.Reader) (Request, error) {
	return constructed(NewRevokeJoiningCode(readURI(r, "room", mimi.ParseRoomURI), readURI(r, "by", mimi.ParseUserURI), readCodeID(r)))
}

// Judge refuses who may not end the code.
func (c *RevokeJoiningCode) Judge(replica fsm.Reader) (Verdict, error) {
	return concluded(c.judge(replica))
}

func (c *RevokeJoiningCode) judge(replica fsm.Reader) (Verdict, error) {
	state, err := readCodeRoom(replica, c.room, c.by)
	if err != nil {
		return nil, err
	}
	code, _, err := fsm.ReadJoiningCode(replica, c.room, c.id)
	if err != nil {
		return nil, err
	}
	if err := state.policy.CheckDeleteCode(c.by, code.Creator); err != nil {
		return nil, ruled(err)
	}
	return Propose{fsm.RevokeJoiningCode{Room: c.room, ID: c.id, GroupContextHash: state.GroupContextHash}}, nil
}

// ListJoiningCodes asks for the joining codes of a room.
type ListJoiningCodes struct {
	asRead
	room mimi.RoomURI
}

// NewListJoiningCodes makes the request. It answers fsm.JoiningCodes, of which each is told whether there is a passphrase, and
// nothing to check one against; fsm.NoSuchRoom or fsm.RoomEnded.
func NewListJoiningCodes(room mimi.RoomURI) (*ListJoiningCodes, error) {
	return &ListJoiningCodes{room: room}, nil
}

func (l *ListJoiningCodes) Slot() fsm.SlotID              { return fsm.SlotOfRoom(l.room) }
func (*ListJoiningCodes) kind() requestKind               { return kindListJoiningCodes }
func (l *ListJoiningCodes) appendArguments(w *mls.Writer) { appendURIs(w, l.room) }

// Judge refuses rather than answers: a list from a replica that is behind would show what has ended.
func (l *ListJoiningCodes) Judge(replica fsm.Reader) (Verdict, error) {
	room, found, err := fsm.ReadRoom(replica, l.room)
	switch {
	case err != nil:
		return nil, err
	case !found || room.Status != fsm.RoomOpen:
		return concluded(nil, endedRoom(replica, l.room))
	}
	codes, err := fsm.ReadJoiningCodes(replica, l.room)
	for i := range codes {
		codes[i].Lock.Key = nil
	}
	return Refuse{fsm.JoiningCodes{Codes: codes}}, err
}
